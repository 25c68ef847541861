/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: signals by which a person or a batch system wants an end. They are blocked and read from a
 * descriptor, so that they come at one place in the loop. */
#include "head/impl.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"

#define SIGNAL_AGAIN_MS 500 /* another signal is another wish only after so long */

static void on_signal(struct head *h, int number)
{
    int64_t now_ms = clock_mono_ms();
    bool again = h->signal_number != 0;

    /* Launchers send INT and TERM together: that is one wish. */
    if (again && number != h->signal_number && now_ms < h->signal_ms + SIGNAL_AGAIN_MS)
        return;
    h->signal_ms = now_ms;
    h->signal_number = number;
    if (again) {
        log_warn("%s again: killing the running tasks now", strsignal(number));
        head_stop(h, STOP_KILL, "%s", strsignal(number));
        return;
    }
    /* The walltime, and a batch system's warning of it: they want the same, and no more. */
    if (h->stop >= STOP_TERM)
        log_warn("%s: the running tasks are being ended (once more kills them at once)",
                 strsignal(number));
    else if (h->ran)
        log_warn("%s: ending the running tasks (once more kills them at once); --resume goes on "
                 "later",
                 strsignal(number));
    head_stop(h, STOP_TERM, "%s", strsignal(number));
}

void signals_take(struct head *h)
{
    struct signalfd_siginfo info;

    while (read(h->signal_fd, &info, sizeof(info)) == sizeof(info))
        on_signal(h, (int)info.ssi_signo);
}

static void watched_signals(sigset_t *set)
{
    sigemptyset(set);
    sigaddset(set, SIGINT);
    sigaddset(set, SIGTERM);
    sigaddset(set, SIGHUP);
    sigaddset(set, SIGUSR1); /* what sbatch --signal usually sends before the walltime */
    sigaddset(set, SIGUSR2);
}

void head_block_signals(void)
{
    sigset_t set;

    watched_signals(&set);
    sigprocmask(SIG_BLOCK, &set, NULL);
}

int signals_open(struct head *h, struct pilot_error *err)
{
    sigset_t set;

    watched_signals(&set);
    head_block_signals();
    signal(SIGPIPE, SIG_IGN);
    h->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
    if (h->signal_fd < 0)
        return err_set_errno(err, PILOT_ESYS, errno, "cannot watch for signals");
    return 0;
}

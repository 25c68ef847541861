/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: ranks and nodes, and all messages to and from them. Several ranks on one host are one node:
 * the lowest rank is its agent and gets the union of their CPUs, the others sleep. The head never
 * waits for one rank: who is silent is lost (loss.c). */
#include "head/impl.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/cpus.h"
#include "agent/site.h"
#include "common/clock.h"
#include "common/error.h"
#include "common/log.h"

#define JOIN_MS 60000    /* for the slowest rank to come out of MPI_Init and say hello */
#define RELEASE_MS 15000 /* on top of the grace time, for agents to end their tasks */
#define DISMISS_MS 1000  /* for the last frames to get out of our hands */
#define IN_FRAME_MAX 65536

static void handle_message(struct head *h, int rank, unsigned type, struct rd *body,
                           int64_t now_ms);

/* ---- Receiving ------------------------------------------------------------------------------- */

static void handle_frame(struct head *h, int rank, const void *frame, size_t len, int64_t now_ms)
{
    struct pilot_error err;
    struct msg_reader reader;
    struct rd body;
    unsigned type;
    int rc;

    if (msg_open(&reader, frame, len, &err) < 0) {
        log_error("rank %d: %s", rank, err.text);
        return;
    }
    h->ranks[rank].heard_ms = now_ms;
    while ((rc = msg_next(&reader, &type, &body)) > 0)
        handle_message(h, rank, type, &body, now_ms);
    if (rc < 0)
        log_error("rank %d: a message is cut", rank);
}

void ranks_receive(struct head *h, int64_t now_ms)
{
    const void *frame;
    size_t len;
    int peer;

    while (h->mpi != NULL && transport_recv(h->mpi, &peer, &frame, &len) > 0)
        if (h->ranks[peer].lost)
            loss_late_word(h, peer);
        else
            handle_frame(h, peer, frame, len, now_ms);
    while (h->local != NULL && transport_recv(h->local, &peer, &frame, &len) > 0)
        handle_frame(h, 0, frame, len, now_ms);
}

static void handle_hello(struct head *h, int rank, struct rd *body)
{
    struct msg_hello *m = calloc(1, sizeof(*m));

    if (m == NULL)
        BUG("out of memory while starting");
    if (msg_get_hello(body, m) < 0 || h->ranks[rank].hello != NULL) {
        log_error("rank %d: a HELLO message that does not fit", rank);
        free(m);
        return;
    }
    h->ranks[rank].hello = m;
}

static void handle_ready(struct head *h, struct node *n, struct rd *body)
{
    struct msg_ready *m = calloc(1, sizeof(*m));

    if (m == NULL)
        BUG("out of memory while starting");
    if (msg_get_ready(body, m) < 0 || n->state != NODE_JOINING) {
        log_error("node %s: a READY message that does not fit", n->name);
    } else if (m->cores == 0) {
        log_error("node %s cannot run tasks: %s", n->name, m->text);
        n->state = NODE_LEFT;
        if (!h->failed)
            err_set(&h->failure, PILOT_ESYS, "node %s cannot run tasks: %s", n->name, m->text);
    } else {
        n->real_cores = m->cores;
        n->memory = h->opt->memory > 0 ? h->opt->memory : m->memory;
        snprintf(n->map, sizeof(n->map), "%s", m->map);
        n->state = NODE_READY;
    }
    free(m);
}

static void handle_ended(struct head *h, node_id_t id, struct rd *body, int64_t now_ms)
{
    struct msg_ended m;

    if (msg_get_ended(body, &m) < 0 || m.task >= h->tasks.len)
        log_error("node %s: an ENDED message that does not fit", h->nodes[id].name);
    else if (h->nodes[id].state == NODE_UP && !doubt_take(h, id, &m, now_ms))
        actions_ended(h, id, &m, now_ms);
}

static void handle_back(struct head *h, node_id_t id, struct rd *body, int64_t now_ms)
{
    struct msg_back m;

    h->nodes[id].backs++;
    if (msg_get_back(body, &m) < 0 || m.task >= h->tasks.len)
        log_error("node %s: a BACK message that does not fit", h->nodes[id].name);
    else if (h->nodes[id].state == NODE_UP)
        actions_returned(h, id, &m, now_ms);
}

static void handle_request(struct head *h, node_id_t id, struct rd *body)
{
    struct msg_text m;

    if (msg_get_text(body, &m) < 0) {
        log_error("node %s: a REQUEST message that does not fit", h->nodes[id].name);
        return;
    }
    requests_handle(h, id, m.client, NULL, m.text);
    free(m.text);
}

static void handle_room(struct head *h, node_id_t id, struct rd *body, int64_t now_ms)
{
    struct msg_room *m = malloc(sizeof(*m));

    if (m == NULL || msg_get_room(body, m) < 0)
        log_error("node %s: a ROOM message that does not fit", h->nodes[id].name);
    else
        disk_handle_room(h, id, m, now_ms);
    free(m);
}

static void handle_message(struct head *h, int rank, unsigned type, struct rd *body, int64_t now_ms)
{
    struct rank *r = &h->ranks[rank];

    if (type == MSG_HELLO) {
        handle_hello(h, rank, body);
    } else if (type == MSG_GONE) {
        loss_handle_gone(h, rank);
    } else if (type == MSG_LEAVE) {
        loss_of_rank(h, rank, "it has left");
    } else if (type == MSG_ASK) {
        ranks_tell(h, rank, MSG_STILL);
    } else if (type == MSG_PING) {
        return;
    } else if (!r->is_agent) {
        log_error("rank %d: an unexpected %s message", rank, msg_type_name(type));
    } else if (type == MSG_READY) {
        handle_ready(h, &h->nodes[r->node], body);
    } else if (type == MSG_ENDED) {
        handle_ended(h, r->node, body, now_ms);
    } else if (type == MSG_BACK) {
        handle_back(h, r->node, body, now_ms);
    } else if (type == MSG_REQUEST) {
        handle_request(h, r->node, body);
    } else if (type == MSG_ROOM) {
        handle_room(h, r->node, body, now_ms);
    } else {
        log_error("rank %d: an unexpected %s message", rank, msg_type_name(type));
    }
}

/* ---- Sending --------------------------------------------------------------------------------- */

void ranks_tell(struct head *h, int rank, enum msg_type type)
{
    struct buf frame;

    buf_init(&frame);
    msg_put_empty(&frame, type);
    transport_send(rank == 0 ? h->local : h->mpi, rank, frame.data, frame.len);
    buf_fini(&frame);
}

static void send_frame(struct head *h, struct node *n, int64_t now_ms)
{
    (void)h;
    if (n->out.len == 0)
        return;
    if (!buf_ok(&n->out) || transport_send(n->transport, n->peer, n->out.data, n->out.len) < 0)
        BUG("out of memory for a message to node %s", n->name);
    buf_clear(&n->out);
    n->sent_ms = now_ms;
}

struct buf *node_frame(struct head *h, node_id_t id)
{
    struct node *n = &h->nodes[id];

    if (n->out.len > IN_FRAME_MAX)
        send_frame(h, n, clock_mono_ms());
    return &n->out;
}

void ranks_send(struct head *h, int64_t now_ms)
{
    for (unsigned i = 0; i < h->node_count; i++)
        if (h->nodes[i].state != NODE_LOST)
            send_frame(h, &h->nodes[i], now_ms);
    if (h->mpi != NULL)
        transport_flush(h->mpi);
}

/* ---- Joining --------------------------------------------------------------------------------- */

typedef bool done_f(const struct head *h);

/* Serves nodes and our own agent until done says so, the time is over, or somebody stops us. */
static void serve_until(struct head *h, done_f *done, int64_t until_ms)
{
    enum stop_level stop = h->stop;
    int64_t now_ms;

    for (;;) {
        now_ms = clock_mono_ms();
        ranks_serve(h);
        if (done(h) || now_ms >= until_ms || h->stop > stop)
            return;
        head_wait(h, until_ms);
    }
}

static bool all_said_hello(const struct head *h)
{
    for (int i = 0; i < h->rank_count; i++)
        if (h->ranks[i].hello == NULL && !h->ranks[i].lost)
            return false;
    return true;
}

static bool none_joining(const struct head *h)
{
    for (unsigned i = 0; i < h->node_count; i++)
        if (h->nodes[i].state == NODE_JOINING)
            return false;
    return true;
}

static int own_agent(struct head *h, const struct head_config *config, struct pilot_error *err)
{
    struct agent_config ac = {.launcher = config->launcher,
                              .environ_before = config->environ_before};
    int rc;

    if (h->opt->head_only) {
        launcher_stop(config->launcher);
        h->ranks[0].hello = calloc(1, sizeof(*h->ranks[0].hello));
        if (h->ranks[0].hello == NULL)
            return err_set(err, PILOT_ENOMEM, "out of memory");
        return site_hello(h->ranks[0].hello, config->environ_before, err);
    }
    rc = transport_inproc_open(&h->local, &h->local_agent_end, err);
    if (rc < 0) {
        launcher_stop(config->launcher);
        return rc;
    }
    ac.transport = h->local_agent_end;
    rc = agent_create(&h->agent, &ac, err);
    if (rc < 0)
        launcher_stop(config->launcher);
    return rc;
}

static struct node *node_of_host(struct head *h, const char *host)
{
    struct node *n;

    for (unsigned i = 0; i < h->node_count; i++)
        if (strcmp(h->nodes[i].name, host) == 0)
            return &h->nodes[i];
    n = &h->nodes[h->node_count++];
    memset(n, 0, sizeof(*n));
    buf_init(&n->out);
    snprintf(n->name, sizeof(n->name), "%s", host);
    return n;
}

/* Ranks become nodes, in the order of ranks: rank 0's node is node 0. */
static int form_nodes(struct head *h, struct pilot_error *err)
{
    h->nodes = calloc((unsigned)h->rank_count, sizeof(*h->nodes));
    if (h->nodes == NULL)
        return err_set(err, PILOT_ENOMEM, "out of memory for %d nodes", h->rank_count);
    for (int i = 0; i < h->rank_count; i++) {
        const struct msg_hello *m = h->ranks[i].hello;
        struct node *n;
        int rc;

        if (h->ranks[i].lost)
            continue;
        if (m == NULL) {
            if (h->stop == STOP_NOT)
                log_warn("rank %d did not answer within %d s; going on without it", i,
                         JOIN_MS / 1000);
            loss_drop_rank(h, i);
            continue;
        }
        if (strcmp(m->version, pilot_version()) != 0)
            return err_set(
                err, PILOT_EPROTO,
                "rank %d on %s is version %s, but rank 0 is %s; start the same pilot-mpi "
                "everywhere",
                i, m->host, m->version, pilot_version());
        n = node_of_host(h, m->host);
        h->ranks[i].node = (node_id_t)(n - h->nodes);
        if (n->ranks++ == 0) {
            n->has_agent = h->ranks[i].is_agent = i != 0 || h->agent != NULL;
            n->transport = i == 0 ? h->local : h->mpi;
            n->peer = i;
            n->slurm_cpus = m->slurm_cpus;
        }
        rc = cpus_union(n->cpus, m->cpus, n->cpus, sizeof(n->cpus), err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static unsigned count_list(const char *list)
{
    unsigned count = 0;

    while (*list != '\0') {
        char *end;
        unsigned long first = strtoul(list, &end, 10), last = first;

        if (*end == '-')
            last = strtoul(end + 1, &end, 10);
        count += (unsigned)(last - first + 1);
        list = *end == ',' ? end + 1 : end;
        if (end == list && *end != '\0')
            break;
    }
    return count;
}

/* The field's most common surprise; said once, for the first node that has it. */
static void warn_of_binding(const struct head *h)
{
    for (unsigned i = 0; i < h->node_count; i++) {
        const struct node *n = &h->nodes[i];

        if (n->slurm_cpus <= count_list(n->cpus))
            continue;
        log_warn(
            "Slurm gave this job %u CPUs on node %s, but srun bound pilot-mpi to %u of them "
            "(%s); to use them all: srun --ntasks-per-node=1 --cpus-per-task=%u --cpu-bind=none "
            "pilot-mpi ...",
            n->slurm_cpus, n->name, count_list(n->cpus), n->cpus, n->slurm_cpus);
        return;
    }
}

static void send_welcomes(struct head *h)
{
    struct msg_welcome *m = calloc(1, sizeof(*m));
    struct buf frame;

    if (m == NULL)
        BUG("out of memory while starting");
    m->grace_ms = h->opt->grace_ms;
    m->left_ms = drain_left_ms(h, clock_mono_ms());
    m->max_output = h->opt->max_output;
    m->output = h->opt->output;
    m->use_hyperthreads = h->opt->use_hyperthreads;
    m->no_pin = h->opt->no_pin;
    m->keep_env = h->opt->keep_env;
    if (!h->opt->dry_run)
        snprintf(m->workdir, sizeof(m->workdir), "%s", h->workdir);
    for (int i = 0; i < h->rank_count; i++) {
        struct node *n;

        if (h->ranks[i].node == NODE_ID_NONE || (i == 0 && h->agent == NULL))
            continue;
        n = &h->nodes[h->ranks[i].node];
        m->silence_ms = i != 0 ? loss_agents_patience_ms(h) : 0; /* our own shares our fate */
        m->heartbeat_ms = i != 0 ? h->opt->heartbeat_ms : 0;
        m->role = h->ranks[i].is_agent ? ROLE_AGENT : ROLE_SURPLUS;
        snprintf(m->node, sizeof(m->node), "%s", n->name);
        snprintf(m->cpus, sizeof(m->cpus), "%s", n->cpus);
        buf_init(&frame);
        msg_put_welcome(&frame, m);
        transport_send(i == 0 ? h->local : h->mpi, i == 0 ? 0 : i, frame.data, frame.len);
        buf_fini(&frame);
        h->ranks[i].heard_ms = n->sent_ms = clock_mono_ms();
    }
    free(m);
}

int ranks_join(struct head *h, const struct head_config *config, struct pilot_error *err)
{
    int64_t until_ms = clock_mono_ms() + JOIN_MS;
    bool any = false;
    int rc;

    h->rank_count = h->mpi != NULL ? transport_size(h->mpi) : 1;
    h->ranks = calloc((unsigned)h->rank_count, sizeof(*h->ranks));
    if (h->ranks == NULL) {
        launcher_stop(config->launcher);
        return err_set(err, PILOT_ENOMEM, "out of memory for %d ranks", h->rank_count);
    }
    for (int i = 0; i < h->rank_count; i++)
        h->ranks[i].node = NODE_ID_NONE;
    rc = own_agent(h, config, err);
    if (rc < 0)
        return rc;
    if (h->mpi != NULL)
        transport_beat(h->mpi, h->opt->heartbeat_ms);
    serve_until(h, all_said_hello, until_ms);
    rc = form_nodes(h, err);
    if (rc < 0)
        return rc;
    warn_of_binding(h);
    send_welcomes(h);
    for (unsigned i = 0; i < h->node_count; i++)
        if (!h->nodes[i].has_agent)
            h->nodes[i].state = NODE_LEFT;
    until_ms = clock_mono_ms() + JOIN_MS;
    if (h->stop == STOP_NOT)
        serve_until(h, none_joining, until_ms);
    for (unsigned i = 0; i < h->node_count; i++) {
        if (h->nodes[i].state == NODE_JOINING)
            loss_of_rank(h, h->nodes[i].peer, "it did not become ready");
        any = any || h->nodes[i].state == NODE_READY;
    }
    if (h->stop != STOP_NOT)
        return err_set(err, PILOT_EAGAIN, "stopped while starting (%s)", h->stop_why);
    if (!any && h->opt->head_only && h->node_count == 1)
        return err_set(err, PILOT_EINVAL,
                       "--head-only leaves no node for tasks: there is only %s; "
                       "start pilot-mpi on more nodes, or leave --head-only out",
                       h->nodes[0].name);
    if (!any)
        return err_set(err, PILOT_ELOST, "%s",
                       h->failure.code ? h->failure.text : "no node can run tasks");
    return 0;
}

/* ---- Cores ----------------------------------------------------------------------------------- */

static void share_out(struct head *h, unsigned ready, unsigned real)
{
    unsigned wanted = h->opt->cores ? h->opt->cores : real, seen = 0;

    h->virtual_cores = wanted > real;
    h->cores = wanted;
    for (unsigned i = 0; i < h->node_count; i++) {
        struct node *n = &h->nodes[i];

        if (n->state != NODE_READY)
            continue;
        if (h->virtual_cores) {
            n->cores = h->opt->cores / ready + (seen < h->opt->cores % ready);
        } else {
            n->cores = n->real_cores < wanted ? n->real_cores : wanted;
            wanted -= n->cores;
        }
        seen++;
    }
}

void ranks_prepare_packs(struct head *h)
{
    struct msg_pack m = {.run = store_run(h->store)};

    for (unsigned i = 0; h->opt->output == PILOT_OUTPUT_PACKED && i < h->node_count; i++)
        if (h->nodes[i].state == NODE_UP)
            msg_put_pack(&h->nodes[i].out, &m);
}

int ranks_assign(struct head *h, struct pilot_error *err)
{
    unsigned ready = 0, real = 0;

    for (unsigned i = 0; i < h->node_count; i++)
        if (h->nodes[i].state == NODE_READY) {
            ready++;
            real += h->nodes[i].real_cores;
        }
    if (ready == 0)
        return err_set(err, PILOT_ELOST, "no node can run tasks");
    share_out(h, ready, real);
    for (unsigned i = 0; i < h->node_count; i++) {
        struct node *n = &h->nodes[i];
        struct msg_assign m = {.cores = n->cores, .is_virtual = h->virtual_cores};

        if (n->state != NODE_READY || n->cores == 0)
            continue;
        msg_put_assign(&n->out, &m);
        n->state = NODE_UP;
    }
    if (h->virtual_cores)
        log_info("%u cores were asked for, but there are %u: tasks share them and are not pinned",
                 h->opt->cores, real);
    return 0;
}

unsigned ranks_largest(const struct head *h, const char **name)
{
    unsigned most = 0;

    *name = "?";
    /* Nodes that were lost count too: a task for them waits for a larger allocation. */
    for (unsigned i = 0; i < h->node_count; i++)
        if (h->nodes[i].cores > most) {
            most = h->nodes[i].cores;
            *name = h->nodes[i].name;
        }
    return most;
}

int64_t ranks_most_memory(const struct head *h, const char **name)
{
    int64_t most = 0;

    *name = "?";
    for (unsigned i = 0; i < h->node_count; i++) {
        const struct node *n = &h->nodes[i];

        if (n->cores > 0 && n->memory == 0)
            return 0;
        if (n->cores > 0 && n->memory > most) {
            most = n->memory;
            *name = n->name;
        }
    }
    return most;
}

bool ranks_can_hold(const struct head *h, unsigned cores, int64_t memory)
{
    for (unsigned i = 0; i < h->node_count; i++)
        if (h->nodes[i].cores >= cores && (h->nodes[i].memory == 0 || h->nodes[i].memory >= memory))
            return true;
    return false;
}

/* ---- Leaving --------------------------------------------------------------------------------- */

static bool everybody_gone(const struct head *h)
{
    for (int i = 0; i < h->rank_count; i++) {
        const struct rank *r = &h->ranks[i];

        if (i == 0 && h->agent == NULL)
            continue;
        if (!r->gone && !r->lost)
            return false;
    }
    return h->mpi == NULL || transport_idle(h->mpi);
}

void ranks_serve(struct head *h)
{
    int64_t now_ms = clock_mono_ms();

    loss_turn(h, now_ms);
    ranks_send(h, now_ms);
    if (h->agent != NULL)
        agent_turn(h->agent, now_ms);
    ranks_receive(h, now_ms);
}

void ranks_release(struct head *h)
{
    int64_t until_ms = clock_mono_ms() + h->opt->grace_ms + RELEASE_MS;

    if (h->released || h->ranks == NULL)
        return;
    h->released = true;
    for (int i = 0; i < h->rank_count; i++)
        if (!h->ranks[i].lost && !h->ranks[i].gone && (i != 0 || h->agent != NULL))
            ranks_tell(h, i, MSG_BYE);
    for (unsigned i = 0; i < h->node_count; i++)
        buf_clear(&h->nodes[i].out);
    if (h->mpi != NULL)
        transport_flush(h->mpi);
    serve_until(h, everybody_gone, until_ms);
    for (int i = 1; i < h->rank_count; i++)
        if (!h->ranks[i].gone && !h->ranks[i].lost)
            loss_of_rank(h, i, "it does not end");
}

static bool all_sent(const struct head *h)
{
    return transport_idle(h->mpi);
}

bool ranks_dismiss(struct head *h)
{
    if (h->mpi == NULL)
        return true;
    for (int i = 1; i < h->rank_count; i++)
        if (!h->ranks[i].lost)
            ranks_tell(h, i, h->lost_ranks ? MSG_LEAVE : MSG_FINALIZE);
    transport_flush(h->mpi);
    serve_until(h, all_sent, clock_mono_ms() + DISMISS_MS);
    return !h->lost_ranks;
}

void ranks_fini(struct head *h)
{
    agent_destroy(h->agent);
    transport_close(h->local, true, 0);
    transport_close(h->local_agent_end, true, 0);
    for (int i = 0; h->ranks != NULL && i < h->rank_count; i++)
        free(h->ranks[i].hello);
    free(h->ranks);
    for (unsigned i = 0; i < h->node_count; i++)
        buf_fini(&h->nodes[i].out);
    free(h->nodes);
}

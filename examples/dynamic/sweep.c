/* SPDX-License-Identifier: BSD-3-Clause */
/* The sweep as a program of its own, with libpilot: ./sweep, mpirun -np 3 ./sweep, srun -N 4
 * ./sweep; after a kill: the same with --resume. */
#include <pilot.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TASKS 20

struct sweep {
    const char *model; /* absolute path of model.sh: a task starts in a directory of its own */
    int tasks;
};

static void add(struct pilot *p, struct sweep *s, double x)
{
    char id[32], text[32];
    const char *argv[] = {"sh", s->model, text, NULL};
    struct pilot_task task = PILOT_TASK_INIT;
    struct pilot_error err;
    int rc;

    if (s->tasks >= MAX_TASKS || x < 0 || x > 10)
        return;
    snprintf(text, sizeof(text), "%g", x);
    snprintf(id, sizeof(id), "x%g", x);
    task.id = id;
    task.argv = argv;
    rc = pilot_add(p, &task, &err); /* 1: it is new; 0: that point is there already */
    if (rc < 0)
        fprintf(stderr, "%s\n", err.text);
    else
        s->tasks += rc;
}

/* Called on rank 0, once for each task that has ended. */
static void refine(struct pilot *p, const struct pilot_result *r, void *arg)
{
    FILE *f = r->success ? fopen(r->stdout_file, "r") : NULL;
    double x, y;

    if (f != NULL && fscanf(f, "%lf %lf", &x, &y) == 2 && y > 0.5) {
        add(p, arg, x - 0.5);
        add(p, arg, x + 0.5);
    }
    if (f != NULL)
        fclose(f);
}

int main(int argc, char **argv)
{
    struct pilot_options opt = PILOT_OPTIONS_INIT;
    struct sweep s = {.model = realpath("model.sh", NULL)};
    struct pilot_error err;
    struct pilot *p;
    int rc;

    opt.resume = argc > 1 && strcmp(argv[1], "--resume") == 0;
    if (s.model == NULL || pilot_create(&p, &opt, &err) < 0) {
        fprintf(stderr, "sweep: %s\n", s.model ? err.text : "no model.sh in this directory");
        return PILOT_EXIT_USAGE;
    }
    pilot_on_complete(p, refine, &s);
    for (int x = 0; x <= 10; x++)
        add(p, &s, x);
    rc = pilot_run(p, &err);
    if (rc < 0)
        fprintf(stderr, "sweep: %s\n", err.text);
    pilot_destroy(p);
    free((char *)s.model);
    pilot_exit(rc < 0 ? PILOT_EXIT_USAGE : rc);
}

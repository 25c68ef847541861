/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: what clients ask ("pilot-mpi add" in a task, on a node, on a login node) and their answers.
 * An answer that says yes leaves only when what it promises is committed. */
#include "head/impl.h"
#include "head/lines.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "common/error.h"
#include "common/log.h"

#define REPLY_MAX (32u << 20) /* bytes; well below what one message may carry */

/* ok and what is to be added to it, as JSON text; frees o. */
static char *word(cJSON *o)
{
    char *text = o != NULL ? cJSON_PrintUnformatted(o) : NULL;

    if (text == NULL)
        BUG("out of memory for an answer");
    cJSON_Delete(o);
    return text;
}

static char *refusal(const char *code, const char *message)
{
    cJSON *o = cJSON_CreateObject();

    cJSON_AddBoolToObject(o, "ok", false);
    cJSON_AddStringToObject(o, "code", code);
    cJSON_AddStringToObject(o, "message", message);
    return word(o);
}

static char *do_add(struct head *h, const struct client_request *request)
{
    struct pilot_error err;
    char **ids = NULL;
    int64_t added;
    cJSON *o, *list;
    char *reply;

    added = intake_text(h, request->name, request->text, strlen(request->text), &ids, &err);
    if (added < 0)
        return refusal("refused", err.text);
    o = cJSON_CreateObject();
    cJSON_AddBoolToObject(o, "ok", true);
    list = cJSON_AddArrayToObject(o, "ids");
    for (size_t i = 0; ids != NULL && ids[i] != NULL; i++)
        cJSON_AddItemToArray(list, cJSON_CreateString(ids[i]));
    cJSON_AddNumberToObject(o, "new", (double)added);
    strv_free(ids);
    reply = word(o);
    if (strlen(reply) <= REPLY_MAX)
        return reply;
    free(reply);
    return strdup("{\"ok\": true, \"ids\": []}"); /* added; too many to list */
}

static char *do_cancel(struct head *h, const struct client_request *request)
{
    struct pilot_error err;
    cJSON *o;

    for (char **id = request->ids; id != NULL && *id != NULL; id++)
        if (head_cancel(h, *id, &err) < 0)
            return refusal("refused", err.text);
    o = cJSON_CreateObject();
    cJSON_AddBoolToObject(o, "ok", true);
    return word(o);
}

static char *answer(struct head *h, const char *text)
{
    struct client_request request;
    char why[LINES_WHY_MAX];
    char *reply;
    int rc;

    if (h->over || h->sched == NULL)
        return refusal("over", "the run is over; nothing can be added any more");
    rc = client_request_parse(text, strlen(text), &request, why);
    if (rc == PILOT_ENOMEM)
        BUG("out of memory for a request");
    if (rc < 0)
        reply = refusal("refused", why);
    else
        reply = request.op == REQUEST_ADD ? do_add(h, &request) : do_cancel(h, &request);
    client_request_fini(&request);
    return reply;
}

void requests_handle(struct head *h, node_id_t node, uint32_t client, const char *inbox,
                     const char *text)
{
    struct notice n = {.what = TOLD_REPLY, .node = node, .client = client};

    n.text = answer(h, text);
    if (inbox != NULL && (n.inbox = strdup(inbox)) == NULL)
        BUG("out of memory for an answer");
    if (h->over || h->store == NULL) {
        requests_reply(h, &n);
        free(n.text);
        free(n.inbox);
        return;
    }
    /* Also when nothing new was added: what was there may not be committed yet. */
    tell_later(h, &n);
    h->changed = h->again = h->hurry = true;
}

void requests_take_inbox(struct head *h, int64_t now_ms)
{
    const char *name, *text;

    while (h->inbox != NULL && inbox_next(h->inbox, now_ms, &name, &text) > 0)
        requests_handle(h, NODE_ID_NONE, 0, name, text);
}

void requests_reply(struct head *h, const struct notice *n)
{
    if (n->inbox != NULL)
        inbox_reply(h->inbox, n->inbox, n->text);
    else if (h->nodes[n->node].state != NODE_LOST)
        msg_put_text(node_frame(h, n->node), MSG_REPLY, n->client, n->text);
}

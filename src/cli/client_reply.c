/* SPDX-License-Identifier: BSD-3-Clause */
/* Owns: the reading of answers. Must not trust that it is a pilot who answered. */
#include "cli/client_reply.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <string.h>

#include "common/buf.h"
#include "pilot.h"

/* The texts of the list; what else is in it is left out. 0 or PILOT_ENOMEM. */
static int take_ids(const cJSON *ids, char ***out)
{
    int n = cJSON_GetArraySize(ids);
    char **list = calloc((size_t)n + 1, sizeof(*list));
    size_t count = 0;
    const cJSON *id;

    if (list == NULL)
        return PILOT_ENOMEM;
    cJSON_ArrayForEach(id, ids)
    {
        if (!cJSON_IsString(id))
            continue;
        list[count] = strdup(id->valuestring);
        if (list[count++] == NULL) {
            strv_free(list);
            return PILOT_ENOMEM;
        }
    }
    *out = list;
    return 0;
}

static int take_refusal(const cJSON *o, struct client_reply *reply)
{
    const cJSON *code = cJSON_GetObjectItemCaseSensitive(o, "code");
    const cJSON *message = cJSON_GetObjectItemCaseSensitive(o, "message");

    if (!cJSON_IsString(message))
        return PILOT_EPROTO;
    reply->refused = !cJSON_IsString(code) || strcmp(code->valuestring, "refused") == 0;
    reply->message = strdup(message->valuestring);
    return reply->message != NULL ? 0 : PILOT_ENOMEM;
}

int client_reply_parse(const char *text, struct client_reply *reply)
{
    cJSON *o = cJSON_Parse(text);
    const cJSON *ids = cJSON_GetObjectItemCaseSensitive(o, "ids");
    int rc = 0;

    memset(reply, 0, sizeof(*reply));
    reply->ok = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(o, "ok"));
    if (!reply->ok)
        rc = take_refusal(o, reply);
    else if (cJSON_IsArray(ids))
        rc = take_ids(ids, &reply->ids);
    cJSON_Delete(o);
    return rc;
}

void client_reply_fini(struct client_reply *reply)
{
    strv_free(reply->ids);
    free(reply->message);
    memset(reply, 0, sizeof(*reply));
}

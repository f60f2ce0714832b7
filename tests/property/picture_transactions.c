/* What transactions do to the picture: who is given what they acked, during them and after. */
#include "std/check.h"
#include "tests/property/picture.h"

struct held { /* acked in a transaction */
    uint32_t group;
    struct model_place at;
    uint64_t number;
};

enum { HELD_MAX = PICTURE_GROUPS * MODEL_TOPICS * PICTURE_PARTITIONS * MODEL_OFFSETS };

static uint32_t list_held(struct picture *p, struct held *out)
{
    uint32_t count = 0;
    for (uint32_t g = 0; g < PICTURE_GROUPS; g++) {
        struct model_place at = {0};
        for (at.topic = 0; at.topic < MODEL_TOPICS; at.topic++)
            for (at.partition = 0; at.partition < PICTURE_PARTITIONS; at.partition++)
                for (at.offset = 0; at.offset < MODEL_OFFSETS; at.offset++) {
                    uint64_t number =
                        p->model.groups[g].progress[at.topic][at.partition].reserved[at.offset];
                    if (number > 0)
                        out[count++] = (struct held){g, at, number};
                }
    }
    return count;
}

/* The command may end transactions: what they acked is done, or its delivery goes on. */
static void end_some(struct picture *p, const struct world_entry *entry)
{
    static struct held held[HELD_MAX]; /* too large for the stack */
    uint32_t count = list_held(p, held);
    if (entry->cmd.type == COMMAND_TRANSACTION_END)
        model_end(&p->model, &entry->cmd.transaction_end, entry->result);
    else
        model_producer_init(&p->model, &entry->cmd.producer_init, entry->result);
    for (uint32_t i = 0; i < count; i++) {
        struct fact *fact = picture_fact(p, held[i].group, held[i].at);
        if (p->model.transactions[held[i].number - 1].state == TRANSACTION_ONGOING ||
            !fact->in_transaction)
            continue;
        fact->in_transaction = false;
        picture_settled(p, held[i].group, held[i].at, BY_TRANSACTION, 0);
    }
}

static void acked(struct picture *p, const struct world_entry *entry)
{
    const struct command_transaction_ack *cmd = &entry->cmd.transaction_ack;
    model_transaction_ack(&p->model, cmd, entry->result);
    CHECK(entry->transaction_ack->status == entry->result->status);
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        const struct ack_entry *acked = &cmd->entries[i];
        const struct receipt receipt = {.group_id = cmd->group_id,
                                        .topic_id = acked->topic_id,
                                        .partition = acked->partition,
                                        .offset = acked->offset};
        uint32_t group;
        struct model_place at;
        if (!picture_find(p, &receipt, &group, &at))
            continue;
        struct fact *fact = picture_fact(p, group, at);
        if (entry->result->status == ST_OK && fact->state == SETTLING && !fact->in_transaction)
            fact->in_transaction = true;
        else
            picture_settled(p, group, at, BY_TRANSACTION, 0);
    }
}

static void offsets_added(struct picture *p, const struct world_entry *entry)
{
    const struct command_transaction_offsets *cmd = &entry->cmd.transaction_offsets;
    uint32_t group = 0;
    while (!span_equal(cmd->commit.group, span_text(model_group_name(group))))
        CHECK(++group < PICTURE_GROUPS);
    model_transaction_offsets(&p->model, group, cmd, entry->result);
    if (entry->result->status != ST_OK)
        return;
    delivery_touch(p->world.delivery, cmd->commit.group, cmd->commit.member_id, p->world.now_us);
    picture_touch(p, group, model_member_number(cmd->commit.member_id));
}

void picture_transaction_applied(struct picture *p, const struct world_entry *entry,
                                 const struct model_sent *sent)
{
    const struct command *cmd = &entry->cmd;
    if (cmd->type == COMMAND_PRODUCER_INIT || cmd->type == COMMAND_TRANSACTION_END)
        end_some(p, entry);
    else if (cmd->type == COMMAND_PRODUCER_HEARTBEAT)
        model_producer_heartbeat(&p->model, &cmd->producer_heartbeat, entry->result);
    else if (cmd->type == COMMAND_TRANSACTION_BEGIN)
        model_begin(&p->model, &cmd->transaction_begin, entry->result);
    else if (cmd->type == COMMAND_TRANSACTION_PUBLISH)
        model_send(&p->model, &cmd->transaction_publish, sent, entry->result);
    else if (cmd->type == COMMAND_TRANSACTION_ACK)
        acked(p, entry);
    else
        offsets_added(p, entry);
}

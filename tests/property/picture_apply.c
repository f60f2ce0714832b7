/* The picture follows the commands as they are applied. */
#include "std/check.h"
#include "tests/property/picture.h"

struct under_way *picture_under_way(struct picture *p, const struct world_entry *entry)
{
    CHECK(p->under_way_count < UNDER_WAY_MAX);
    struct under_way *u = &p->under_way[p->under_way_count++];
    *u = (struct under_way){.entry = entry, .topic = MODEL_TOPICS};
    return u;
}

uint32_t picture_space(const struct picture *p, uint32_t topic)
{
    uint64_t most = 0;
    for (uint32_t i = 0; p->model.topics[topic].alive && i < PICTURE_PARTITIONS; i++)
        if (p->model.topics[topic].partitions[i].next > most)
            most = p->model.topics[topic].partitions[i].next;
    for (uint32_t i = 0; i < p->under_way_count; i++) {
        const struct under_way *u = &p->under_way[i];
        if (u->topic == topic || (u->topic == MODEL_NAMES && topic >= MODEL_NAMES))
            most += u->count;
    }
    return most < MODEL_OFFSETS ? (uint32_t)(MODEL_OFFSETS - most) : 0;
}

static uint32_t group_by_name(struct span name)
{
    uint32_t group = 0;
    while (!span_equal(span_text(model_group_name(group)), name))
        CHECK(++group < PICTURE_GROUPS);
    return group;
}

static uint32_t topic_by_name(struct span name)
{
    uint32_t topic = 0;
    while (!span_equal(span_text(model_topic_name(topic)), name))
        CHECK(++topic < MODEL_TOPICS);
    return topic;
}

static void topic_deleted(struct picture *p, const struct command_topic_delete *cmd,
                          const struct result *result)
{
    uint32_t topic = topic_by_name(cmd->name);
    model_topic_delete(&p->model, topic, result);
    for (uint32_t i = 0; i < PICTURE_PARTITIONS; i++) {
        p->due_asked[topic][i] = false;
        for (uint32_t g = 0; g < PICTURE_GROUPS; g++)
            picture_forget(p, g, topic, i);
    }
}

/* A member goes: what it holds is available at once, or a dead letter. */
static void let_go(struct picture *p, uint32_t group, uint32_t number)
{
    struct model_place at = {0};
    for (at.topic = 0; at.topic < MODEL_TOPICS; at.topic++) {
        const struct model_topic *t = &p->model.topics[at.topic];
        for (at.partition = 0; t->alive && at.partition < t->partition_count; at.partition++) {
            for (at.offset = 0; at.offset < t->partitions[at.partition].next; at.offset++) {
                struct fact *fact = picture_fact(p, group, at);
                if (fact->holder != number)
                    continue;
                if (fact->state == SETTLING) { /* what is not settled after all is free at once */
                    fact->kept_us = p->world.now_us;
                    fact->shortened = true;
                }
                if (fact->state == LEASED && fact->count >= picture_deliveries_max(p, group, at))
                    picture_expect_job(p, group, at, DEAD_LETTER_MAX_RETRIES, NULL);
                else if (fact->state == LEASED)
                    fact->state = RELEASED;
                fact->holder = 0;
            }
        }
    }
    for (uint32_t i = 0; i < p->session_count; i++)
        if (p->sessions[i].group == group && p->sessions[i].number == number)
            p->sessions[i--] = p->sessions[--p->session_count];
}

static void group_left(struct picture *p, const struct command_group_leave *cmd,
                       const struct result *result)
{
    uint32_t group = group_by_name(cmd->group), number = model_member_number(cmd->member_id);
    if (picture_member(p, group, number) != NULL)
        let_go(p, group, number);
    model_leave(&p->model, group, cmd, result);
}

static void group_deleted(struct picture *p, const struct command_group_delete *cmd,
                          const struct result *result)
{
    uint32_t group = group_by_name(cmd->group);
    const struct model_group *g = &p->model.groups[group];
    for (uint32_t i = 0; i < g->member_count; i++)
        let_go(p, group, g->members[i].number);
    picture_match_jobs(p); /* dead letters of a group that is no more: nothing will come of them */
    model_group_delete(&p->model, group, result);
    p->revoke_asked[group] = false;
    for (uint32_t t = 0; t < MODEL_TOPICS; t++)
        for (uint32_t i = 0; i < PICTURE_PARTITIONS; i++)
            picture_forget(p, group, t, i);
}

/* Who joined with this command learns of the group as it is now. */
static void check_joined(struct picture *p, const struct request *request)
{
    const struct result *result = &request->join.result;
    if (result->status == ST_NOT_READY)
        return;
    CHECK(result->status == ST_OK);
    const struct joined *joined = &result->join.joined[request->join.index];
    const struct model_group *g = &p->model.groups[request->group];
    CHECK(model_member_number(joined->member_id) == request->number);
    CHECK(joined->status == ST_OK || joined->status == ST_TOPIC_NOT_FOUND ||
          joined->status == ST_MEMBER_NOT_FOUND);
    if (joined->status != ST_OK)
        return;
    CHECK(result->join.group_id == g->id && result->join.generation == g->generation);
    CHECK(result->join.member_count == g->member_count);
    int at = model_member_by_number(g, request->number);
    uint32_t owned = 0;
    CHECK(at != MODEL_NOBODY);
    for (uint32_t t = 0; t < MODEL_TOPICS; t++)
        for (uint32_t i = 0; i < PICTURE_PARTITIONS; i++)
            owned += g->progress[t][i].known && g->progress[t][i].owner == at;
    CHECK(joined->assigned_count == owned);
    CHECK(joined->leader == (at == 0));
    picture_tell(p, request->group, request->number);
}

static void group_joined(struct picture *p, const struct command_group_join *cmd,
                         const struct result *result)
{
    uint32_t group = group_by_name(cmd->group);
    uint32_t generation = p->model.groups[group].generation;
    model_join(&p->model, group, cmd, result);
    model_adopt(&p->model, p->world.machine, &p->arena);
    model_joined(&p->model, group, cmd, result);
    const struct model_group *g = &p->model.groups[group];
    for (uint32_t i = 0; i < g->member_count; i++) {
        if (picture_session(p, group, g->members[i].number) != NULL)
            continue;
        CHECK(g->generation > generation || g->open_rebalances > 0);
        CHECK(p->session_count < SESSIONS_MAX);
        p->sessions[p->session_count++] =
            (struct picture_session){.group = group,
                                     .number = g->members[i].number,
                                     .last_seen_us = p->world.now_us,
                                     .armed_us = p->world.now_us + g->members[i].session_us};
    }
    for (uint32_t i = 0; i < cmd->joiner_count; i++)
        picture_touch(p, group, model_member_number(cmd->joiners[i].member_id));
    uint32_t answered = 0;
    for (uint32_t i = 0; i < p->request_count; i++) {
        struct request *request = p->requests[i];
        if (request->kind != REQUEST_JOIN || !request->fresh)
            continue;
        request->fresh = false;
        check_joined(p, request);
        answered++;
    }
    CHECK(answered == cmd->joiner_count);
}

static void position_moved(struct picture *p, const struct model_moved *moved)
{
    const struct model_topic *t = &p->model.topics[moved->topic];
    struct model_place at = {moved->topic, moved->partition, 0};
    for (; at.offset < t->partitions[moved->partition].next; at.offset++) {
        struct fact *fact = picture_fact(p, moved->group, at);
        if (fact->state != SETTLING && (moved->back || at.offset < moved->after))
            *fact = (struct fact){0};
        else /* the machine knows nothing of it any more */
            fact->doubtful |= moved->back;
    }
}

static void positions_moved(struct picture *p)
{
    for (uint32_t i = 0; i < p->model.effects.moved_count; i++)
        position_moved(p, &p->model.effects.moved[i]);
}

static void offsets_committed(struct picture *p, const struct command_offsets_commit *cmd,
                              const struct result *result)
{
    uint32_t group = group_by_name(cmd->group);
    model_commit(&p->model, group, cmd, result);
    if (result->status != ST_OK)
        return;
    positions_moved(p);
    delivery_touch(p->world.delivery, cmd->group, cmd->member_id, p->world.now_us);
    picture_touch(p, group, model_member_number(cmd->member_id));
}

static void offsets_reset(struct picture *p, const struct command_offsets_reset *cmd,
                          const struct result *result)
{
    uint32_t group = group_by_name(cmd->group);
    model_reset(&p->model, group, cmd, result);
    positions_moved(p);
}

static void acked(struct picture *p, const struct world_entry *entry)
{
    const struct command_ack *cmd = &entry->cmd.ack;
    const struct ack_request *ack = entry->ack;
    model_ack(&p->model, cmd, entry->result);
    for (uint32_t i = 0; i < cmd->entry_count; i++) {
        uint32_t group, index = ack->entry_receipt[i];
        struct model_place at;
        struct acked told = entry->result->ack.acked[i];
        bool found = picture_find(p, &ack->receipts[index], &group, &at);
        CHECK(found == (told.status == ST_OK));
        CHECK(ack->acked[index].status == (found ? ST_OK : ST_MESSAGE_NOT_FOUND));
        if (!found)
            continue;
        CHECK(ack->acked[index].already == told.already);
        CHECK(ack->acked[index].advanced == told.advanced);
        CHECK(ack->acked[index].committed == told.committed);
        picture_settled(p, group, at, BY_ACK, 0);
        CHECK(ack->in_flight[index] == picture_in_flight(p, group, at.topic, at.partition));
    }
}

static void released(struct picture *p, const struct world_entry *entry)
{
    model_release(&p->model, &entry->cmd.release, entry->result);
    const struct resolve_request *resolve = entry->resolve;
    if (resolve == NULL)
        return; /* a note of delivery's own */
    const struct released *told = &entry->result->release.released[0];
    uint32_t group;
    struct model_place at;
    CHECK(resolve->status == told->status);
    if (told->status == ST_OK) {
        CHECK(resolve->already == told->already && resolve->dead == told->dead);
        CHECK(resolve->delivery_count == told->delivery_count);
        CHECK(resolve->next_us == told->not_before_us);
    }
    if (picture_find(p, &resolve->receipt, &group, &at))
        picture_settled(p, group, at, BY_NACK, told->status == ST_OK ? told->not_before_us : 0);
}

static void became_gone(struct picture *p)
{
    for (uint32_t i = 0; i < p->model.effects.gone_count; i++) {
        for (uint32_t g = 0; g < PICTURE_GROUPS; g++) {
            struct fact *fact = picture_fact(p, g, p->model.effects.gone[i]);
            if (fact->state != SETTLING)
                *fact = (struct fact){0};
        }
    }
}

/* Those that bring messages: what is in them was kept when they were sent. */
static void follow_sent(struct picture *p, const struct world_entry *entry)
{
    uint32_t i = 0;
    while (p->under_way[i].entry != entry)
        CHECK(++i < p->under_way_count);
    const struct under_way u = p->under_way[i];
    p->under_way[i] = p->under_way[--p->under_way_count];
    const struct command *cmd = &entry->cmd;
    if (cmd->type == COMMAND_PUBLISH) {
        model_publish(&p->model, &cmd->publish, u.sent, entry->result);
    } else if (cmd->type == COMMAND_TRANSACTION_PUBLISH) {
        picture_transaction_applied(p, entry, u.sent);
    } else if (cmd->type == COMMAND_REPLAY) {
        model_replay(&p->model, &cmd->replay, u.sent, entry->result);
        became_gone(p);
    } else {
        model_dead_letter(&p->model, &cmd->dead_letter, u.sent, entry->result);
        picture_dead_letter_applied(p, &u, entry->result);
    }
}

static void due(struct picture *p, const struct command_delay_due *cmd, const struct result *result)
{
    model_delay_due(&p->model, cmd, result);
    int topic = model_topic_by_id(&p->model, cmd->topic_id);
    if (topic != MODEL_NOBODY)
        p->due_asked[topic][cmd->partition] = false;
}

static void follow(struct picture *p, const struct world_entry *entry)
{
    const struct command *cmd = &entry->cmd;
    switch (cmd->type) {
    case COMMAND_TOPIC_CREATE:
        model_topic_create(&p->model, topic_by_name(cmd->topic_create.name), &cmd->topic_create,
                           entry->result);
        break;
    case COMMAND_TOPIC_DELETE:
        topic_deleted(p, &cmd->topic_delete, entry->result);
        break;
    case COMMAND_TOPIC_ADD_PARTITIONS:
        model_add_partitions(&p->model, topic_by_name(cmd->topic_add_partitions.name),
                             &cmd->topic_add_partitions, entry->result);
        break;
    case COMMAND_GROUP_REVOKE:
        model_revoke(&p->model, group_by_name(cmd->group_revoke.group), &cmd->group_revoke,
                     entry->result);
        break;
    case COMMAND_OFFSETS_RESET:
        offsets_reset(p, &cmd->offsets_reset, entry->result);
        break;
    case COMMAND_GROUP_JOIN:
        group_joined(p, &cmd->group_join, entry->result);
        break;
    case COMMAND_GROUP_LEAVE:
        group_left(p, &cmd->group_leave, entry->result);
        break;
    case COMMAND_GROUP_DELETE:
        group_deleted(p, &cmd->group_delete, entry->result);
        break;
    case COMMAND_ACK:
        acked(p, entry);
        break;
    case COMMAND_OFFSETS_COMMIT:
        offsets_committed(p, &cmd->offsets_commit, entry->result);
        break;
    case COMMAND_LEASE:
        model_lease(&p->model, &cmd->lease, entry->result);
        break;
    case COMMAND_RELEASE:
        released(p, entry);
        break;
    case COMMAND_DELAY_DUE:
        due(p, &cmd->delay_due, entry->result);
        break;
    case COMMAND_DELAY_CANCEL:
        model_delay_cancel(&p->model, &cmd->delay_cancel, entry->result);
        became_gone(p);
        break;
    case COMMAND_PUBLISH:
    case COMMAND_REPLAY:
    case COMMAND_DEAD_LETTER:
    case COMMAND_TRANSACTION_PUBLISH:
        follow_sent(p, entry);
        break;
    case COMMAND_PRODUCER_INIT:
    case COMMAND_PRODUCER_HEARTBEAT:
    case COMMAND_TRANSACTION_BEGIN:
    case COMMAND_TRANSACTION_ACK:
    case COMMAND_TRANSACTION_OFFSETS:
    case COMMAND_TRANSACTION_END:
        picture_transaction_applied(p, entry, NULL);
        became_gone(p);
        positions_moved(p);
        break;
    }
}

void picture_on_applied(void *user, const struct world_entry *entry)
{
    struct picture *p = user;
    p->model.now_us = p->world.now_us;
    p->model.index = p->world.index;
    memset(&p->model.effects, 0, sizeof p->model.effects);
    follow(p, entry);
    model_adopt(&p->model, p->world.machine, &p->arena);
    for (uint32_t g = 0; g < PICTURE_GROUPS; g++) /* what is to be let go of is looked at anew */
        p->revoke_asked[g] = p->revoke_asked[g] && !p->model.effects.groups_changed[g];
    for (uint32_t i = 0; i < p->request_count; i++) {
        struct request *request = p->requests[i];
        if ((request->kind == REQUEST_ACK && entry->ack == &request->ack) ||
            (request->kind == REQUEST_TRANSACTION_ACK &&
             entry->transaction_ack == &request->transaction_ack) ||
            (request->kind == REQUEST_RESOLVE && entry->resolve == &request->resolve))
            request->done = true;
    }
    picture_match_jobs(p);
}

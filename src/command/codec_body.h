/* What the files of the codec share: the body of each command, there and back. Nobody else includes
 * this. */
#ifndef COMMAND_CODEC_BODY_H
#define COMMAND_CODEC_BODY_H

#include "command/codec.h"

#define COMMAND(number, NAME, name)                                                                \
    void encode_##name(const struct command_##name *c, struct buf *out);                           \
    void decode_##name(struct wire_reader *r, struct arena *arena, struct command_##name *out);
#include "command/commands.def"
#undef COMMAND

void ack_entry_encode(const struct ack_entry *entry, struct buf *out);
struct ack_entry ack_entry_decode(struct wire_reader *r);

/* A record batch with one message, whose records may be walked. */
struct span message_batch_decode(struct wire_reader *r, uint32_t size);

#endif

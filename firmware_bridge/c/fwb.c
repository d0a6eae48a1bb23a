/* fwb.c - device side of the firmware bridge protocol. The manual is fwb.h, the wire is PROTOCOL.md. */
#include "fwb.h"

#if __STDC_HOSTED__
#include <string.h>
#else /* no C library: the compiler itself expects the first three to exist */
void *memcpy(void *, const void *, size_t);
void *memset(void *, int, size_t);
void *memmove(void *, const void *, size_t);
size_t strlen(const char *);
#endif

#if FWB_TX_MAX < 160 || FWB_TX_MAX > 254 || FWB_RX_MAX < 64 || FWB_RX_MAX > 254
#error "FWB_TX_MAX must be 160 to 254 and FWB_RX_MAX 64 to 254"
#endif

enum {
    HELLO = 0x01, ACK, PING, COMMAND,
    INFO = 0x41, STREAM, ACTUATOR, SAMPLES, LOST, PONG, RECEIPT, SAFE, LOG, HEALTH
};

enum { MAX_STREAMS = 64, MAX_ACTUATORS = 32, MAX_SAMPLES = 85, MAX_KEYS = 5, FRAMES_PER_POLL = 16 };

/* Serial number order (RFC 1982): u32 counters wrap. */
static int before(uint32_t a, uint32_t b) { return (int32_t)(a - b) < 0; }

/* ---- frames ---- */

uint32_t fwb_crc32(const uint8_t *data, size_t size)
{
    /* By nibble: 64 bytes of table instead of 1 KB. */
    static const uint32_t table[16] = {
        0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
        0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c
    };
    uint32_t crc = 0xffffffff;
    while (size--) {
        crc ^= *data++;
        crc = table[crc & 15] ^ (crc >> 4);
        crc = table[crc & 15] ^ (crc >> 4);
    }
    return ~crc;
}

size_t fwb_frame_seal(uint8_t *frame, size_t size)
{
    uint32_t crc = fwb_crc32(frame + 1, size);
    for (unsigned i = 0; i < 4; i++) frame[1 + size + i] = (uint8_t)(crc >> (8 * i));
    size += 4;
    size_t code = 0;
    for (size_t i = 1; i <= size; i++) {
        if (frame[i] != 0) continue;
        frame[code] = (uint8_t)(i - code);
        code = i;
    }
    frame[code] = (uint8_t)(size + 1 - code);
    frame[size + 1] = 0;
    return size + 2;
}

int fwb_frame_open(uint8_t *frame, size_t size)
{
    size_t in = 0, out = 0;
    while (in < size) {
        size_t code = frame[in];
        if (code == 0 || in + code > size) return FWB_E_FRAME;
        for (size_t i = 1; i < code; i++) frame[out++] = frame[in + i];
        in += code;
        if (code != 255 && in < size) frame[out++] = 0;
    }
    if (out < 6) return FWB_E_FRAME;
    out -= 4;
    uint32_t crc = fwb_crc32(frame, out);
    for (unsigned i = 0; i < 4; i++)
        if (frame[out + i] != (uint8_t)(crc >> (8 * i))) return FWB_E_CRC;
    return (int)out;
}

/* ---- CBOR: reading a map of few keys ---- */

typedef struct {
    const uint8_t *at, *end;
} reader;

enum kind { ABSENT, UINT, NINT, FLOAT, BOOL, OTHER };

typedef struct {
    uint64_t number;
    uint8_t kind;
} item;

/* The head of one data item. 0 when it is cut short, indefinite or reserved. */
static int read_head(reader *in, uint8_t *initial, uint64_t *value)
{
    if (in->at == in->end) return 0;
    *initial = *in->at++;
    unsigned info = *initial & 31;
    *value = info;
    if (info < 24) return 1;
    if (info > 27) return 0;
    unsigned bytes = 1u << (info - 24);
    if ((size_t)(in->end - in->at) < bytes) return 0;
    *value = 0;
    while (bytes--) *value = *value << 8 | *in->at++;
    return 1;
}

static enum kind classify(uint8_t initial)
{
    if (initial >> 5 == 0) return UINT;
    if (initial >> 5 == 1) return NINT;
    if (initial == 0xfa) return FLOAT;
    if (initial == 0xf4 || initial == 0xf5) return BOOL;
    return OTHER;
}

/* One whole item. Nested ones are walked by counting, so that depth costs no stack. */
static int read_item(reader *in, item *out)
{
    uint8_t initial;
    if (!read_head(in, &initial, &out->number)) return 0;
    out->kind = (uint8_t)classify(initial);
    if (out->kind == BOOL) out->number = initial & 1;
    uint64_t length = out->number, left = 0, skipped;
    for (;;) {
        uint64_t room = (uint64_t)(in->end - in->at);
        unsigned major = initial >> 5;
        if (major == 6 || (major >= 2 && major <= 5 && length > room)) return 0;
        if (major == 2 || major == 3) in->at += length;
        if (major == 4) left += length;
        if (major == 5) left += 2 * length;
        if (left > room) return 0;
        if (left-- == 0) return 1;
        if (!read_head(in, &initial, &skipped)) return 0;
        length = skipped;
    }
}

/* Fills items[key] for keys below MAX_KEYS; others are skipped. 0 unless the payload is exactly one map with ascending
 * keys. */
static int read_map(const uint8_t *data, size_t size, item items[MAX_KEYS])
{
    reader in = { data, data + size };
    uint8_t initial;
    uint64_t pairs, key, lowest = 0;
    memset(items, 0, MAX_KEYS * sizeof *items);
    if (!read_head(&in, &initial, &pairs) || initial >> 5 != 5) return 0;
    while (pairs--) {
        item other;
        if (!read_head(&in, &initial, &key) || initial >> 5 != 0 || key < lowest) return 0;
        if (!read_item(&in, key < MAX_KEYS ? &items[key] : &other)) return 0;
        lowest = key + 1;
        if (lowest == 0 && pairs) return 0;
    }
    return in.at == in.end;
}

static int is_u32(const item *it) { return it->kind == UINT && it->number <= UINT32_MAX; }

/* Present as u32, or absent. */
static int may_u32(const item *it) { return it->kind == ABSENT || is_u32(it); }

/* ---- CBOR: writing ---- */

typedef struct {
    uint8_t *at;
} writer;

static void put_head(writer *out, uint8_t major, uint64_t value)
{
    unsigned bytes = 0, info = 0;
    if (value < 24) info = (unsigned)value;
    else if (value <= UINT8_MAX) bytes = 1, info = 24;
    else if (value <= UINT16_MAX) bytes = 2, info = 25;
    else if (value <= UINT32_MAX) bytes = 4, info = 26;
    else bytes = 8, info = 27;
    *out->at++ = (uint8_t)((unsigned)major << 5 | info);
    while (bytes--) *out->at++ = (uint8_t)(value >> (8 * bytes));
}

static void put_key(writer *out, uint8_t key, uint64_t value)
{
    put_head(out, 0, key);
    put_head(out, 0, value);
}

static void put_int(writer *out, int64_t value)
{
    if (value < 0) put_head(out, 1, (uint64_t)(-1 - value));
    else put_head(out, 0, (uint64_t)value);
}

static void put_text(writer *out, uint8_t key, const char *text, size_t size)
{
    put_head(out, 0, key);
    put_head(out, 3, size);
    memcpy(out->at, text, size);
    out->at += size;
}

static void put_value(writer *out, uint8_t type, uint32_t raw)
{
    if (type == FWB_F32) {
        *out->at++ = 0xfa;
        for (int shift = 24; shift >= 0; shift -= 8) *out->at++ = (uint8_t)(raw >> shift);
    } else if (type == FWB_I32) {
        put_int(out, (int32_t)raw);
    } else if (type == FWB_U32) {
        put_head(out, 0, raw);
    } else {
        *out->at++ = raw ? 0xf5 : 0xf4;
    }
}

static void put_null(writer *out) { *out->at++ = 0xf6; }

static uint32_t raw_of(uint8_t type, fwb_value value)
{
    uint32_t raw;
    if (type == FWB_BOOL) return value.u != 0;
    memcpy(&raw, &value, sizeof raw);
    return raw;
}

/* ---- composing frames ---- */

static uint64_t now_of(const fwb_t *b) { return b->config->call->now_us(b->config->ctx); }

static void lock(const fwb_t *b)
{
    if (b->config->call->lock) b->config->call->lock(b->config->ctx);
}

static void unlock(const fwb_t *b)
{
    if (b->config->call->unlock) b->config->call->unlock(b->config->ctx);
}

/* A writer behind type and seq in the tx buffer, the map's head written. */
static writer begin(fwb_t *b, uint8_t type, uint8_t pairs)
{
    writer out = { b->tx + 1 };
    *out.at++ = type;
    *out.at++ = b->seq++;
    put_head(&out, 5, pairs);
    return out;
}

static int finish(fwb_t *b, const writer *out)
{
    b->tx_size = (uint16_t)fwb_frame_seal(b->tx, (size_t)(out->at - (b->tx + 1)));
    b->tx_at = 0;
    return 1;
}

static int compose_info(fwb_t *b)
{
    const fwb_config *c = b->config;
    writer out = begin(b, INFO, c->has_prev ? 16 : 14);
    put_key(&out, 0, FWB_VERSION);
    put_key(&out, 1, b->session);
    put_key(&out, 2, c->boot);
    put_text(&out, 3, c->device, strlen(c->device));
    put_text(&out, 4, c->firmware, strlen(c->firmware));
    put_key(&out, 5, c->n_streams);
    put_key(&out, 6, c->n_actuators);
    put_key(&out, 7, FWB_RX_MAX);
    put_key(&out, 8, c->silence_ms);
    lock(b);
    uint32_t first = b->first, next = b->next;
    unlock(b);
    put_key(&out, 9, b->acked);
    put_key(&out, 10, first);
    put_key(&out, 11, next);
    put_key(&out, 12, c->ring_size);
    put_key(&out, 13, now_of(b));
    if (c->has_prev) {
        put_key(&out, 14, c->prev_boot);
        put_key(&out, 15, c->prev_next);
    }
    return finish(b, &out);
}

static void put_range(writer *out, uint8_t type, fwb_value min, fwb_value max)
{
    put_key(out, 3, type);
    put_head(out, 0, 4);
    put_value(out, type, raw_of(type, min));
    put_head(out, 0, 5);
    put_value(out, type, raw_of(type, max));
    put_head(out, 0, 6);
}

/* Entry `at` of the schema: streams first, then actuators. */
static int compose_schema(fwb_t *b, unsigned at)
{
    const fwb_config *c = b->config;
    int is_stream = at < c->n_streams;
    if (!is_stream) at -= c->n_streams;
    const fwb_stream *s = &c->streams[is_stream ? at : 0];
    const fwb_actuator *a = &c->actuators[is_stream ? 0 : at];
    const char *name = is_stream ? s->name : a->name;
    const char *unit = is_stream ? s->unit : a->unit;
    writer out = begin(b, is_stream ? STREAM : ACTUATOR, 7);
    put_key(&out, 0, at);
    put_text(&out, 1, name, strlen(name));
    put_text(&out, 2, unit, strlen(unit));
    if (is_stream) {
        put_range(&out, s->type, s->min, s->max);
        put_head(&out, 0, s->period_us);
    } else {
        put_range(&out, a->type, a->min, a->max);
        put_value(&out, a->type, raw_of(a->type, a->safe));
    }
    return finish(b, &out);
}

static int compose_safe(fwb_t *b)
{
    writer out = begin(b, SAFE, 6);
    put_head(&out, 0, 0);
    put_value(&out, FWB_BOOL, b->safe);
    put_key(&out, 1, b->safe_cause);
    put_key(&out, 2, b->safe_us);
    put_key(&out, 3, b->stats.safe_entries);
    put_key(&out, 4, b->silent_us);
    put_key(&out, 5, b->unplaced);
    return finish(b, &out);
}

static int compose_receipt(fwb_t *b, const fwb_receipt *r)
{
    writer out = begin(b, RECEIPT, 5);
    put_key(&out, 0, r->id);
    put_key(&out, 1, r->actuator);
    put_key(&out, 2, r->status);
    put_head(&out, 0, 3);
    if (r->has_value) put_value(&out, b->config->actuators[r->actuator].type, r->raw);
    else put_null(&out);
    put_key(&out, 4, now_of(b));
    return finish(b, &out);
}

static int compose_pong(fwb_t *b)
{
    writer out = begin(b, PONG, 4);
    put_key(&out, 0, b->ping_token);
    put_key(&out, 1, now_of(b));
    put_key(&out, 2, b->sent);
    put_key(&out, 3, b->stats.safe_entries);
    return finish(b, &out);
}

static int compose_log(fwb_t *b)
{
    writer out = begin(b, LOG, 3);
    put_key(&out, 0, b->log_level);
    put_text(&out, 1, b->log, b->log_size);
    put_key(&out, 2, b->log_us);
    b->log_size = 0;
    return finish(b, &out);
}

static int compose_health(fwb_t *b)
{
    fwb_health h = { FWB_UNKNOWN, FWB_UNKNOWN, FWB_UNKNOWN, FWB_UNKNOWN };
    if (b->config->call->health) b->config->call->health(b->config->ctx, &h);
    const uint32_t values[11] = {
        h.reset_cause, h.stack_free, h.heap_free, h.brownouts, b->stats.crc_errors, b->stats.bad_frames,
        b->stats.oversize, b->stats.bad_messages, b->stats.unknown, b->stats.overwritten, b->stats.log_dropped
    };
    uint8_t pairs = 1 + 11;
    for (int i = 0; i < 4; i++) pairs = (uint8_t)(pairs - (values[i] == FWB_UNKNOWN));
    writer out = begin(b, HEALTH, pairs);
    put_key(&out, 0, now_of(b));
    for (uint8_t i = 0; i < 11; i++)
        if (i >= 4 || values[i] != FWB_UNKNOWN) put_key(&out, (uint8_t)(i + 1), values[i]);
    return finish(b, &out);
}

/* ---- samples ---- */

/* The record of sample `number`. 0 when it is not in the ring. */
static int peek(const fwb_t *b, uint32_t number, fwb_record *record)
{
    lock(b);
    int there = !before(number, b->first) && before(number, b->next);
    if (there) *record = b->config->ring[number & (b->config->ring_size - 1)];
    unlock(b);
    return there;
}

static int compose_lost(fwb_t *b, uint32_t first)
{
    writer out = begin(b, LOST, 3);
    put_key(&out, 0, b->config->boot);
    put_key(&out, 1, b->sent);
    put_key(&out, 2, first);
    b->sent = first;
    return finish(b, &out);
}

/* A SAMPLES frame that starts with `record`, as full as there are samples. */
static int fill_samples(fwb_t *b, fwb_record record)
{
    const uint8_t *end = b->tx + 1 + FWB_TX_MAX - 4 - 16; /* 16: the longest sample */
    uint64_t time_us = record.time_us;
    uint8_t count = 0;
    writer out = begin(b, SAMPLES, 4);
    put_key(&out, 0, b->config->boot);
    put_key(&out, 1, b->sent);
    put_key(&out, 2, time_us);
    put_head(&out, 0, 3);
    uint8_t *head = out.at;
    out.at += 2;
    do {
        put_head(&out, 0, record.stream);
        put_int(&out, (int64_t)(record.time_us - time_us));
        if (record.fault) put_null(&out);
        else put_value(&out, b->config->streams[record.stream].type, record.raw);
        time_us = record.time_us;
        b->sent++;
        count++;
    } while (count < MAX_SAMPLES && out.at <= end && peek(b, b->sent, &record));
    uint8_t items = (uint8_t)(count * 3);
    if (items < 24) { /* the shortest head is one byte: close the hole */
        *head = (uint8_t)(0x80 | items);
        memmove(head + 1, head + 2, (size_t)(out.at - head - 2));
        out.at--;
    } else {
        head[0] = 0x98;
        head[1] = items;
    }
    return finish(b, &out);
}

static int compose_samples(fwb_t *b)
{
    fwb_record record;
    lock(b);
    uint32_t first = b->first;
    unlock(b);
    if (before(b->sent, first)) return compose_lost(b, first);
    if (!peek(b, b->sent, &record)) return 0;
    return fill_samples(b, record);
}

static int record(fwb_t *b, uint8_t stream, uint32_t raw, uint8_t fault)
{
    const fwb_config *c = b->config;
    if (!c || stream >= c->n_streams) return FWB_E_INDEX;
    lock(b);
    if (b->next - b->first == c->ring_size) {
        b->first++;
        b->stats.overwritten++;
    }
    fwb_record *r = &c->ring[b->next & (c->ring_size - 1)];
    r->time_us = now_of(b);
    r->raw = raw;
    r->stream = stream;
    r->fault = fault;
    b->next++;
    unlock(b);
    return FWB_OK;
}

int fwb_sample(fwb_t *b, uint8_t stream, fwb_value value)
{
    if (!b->config || stream >= b->config->n_streams) return FWB_E_INDEX;
    return record(b, stream, raw_of(b->config->streams[stream].type, value), 0);
}

int fwb_fault(fwb_t *b, uint8_t stream) { return record(b, stream, 0, 1); }

uint32_t fwb_next_sample(const fwb_t *b) { return b->next; }

/* ---- actuators ---- */

static int in_range(const fwb_actuator *a, uint32_t raw)
{
    fwb_value v;
    memcpy(&v, &raw, sizeof v);
    if (a->type == FWB_F32) return v.f >= a->min.f && v.f <= a->max.f; /* false for NaN */
    if (a->type == FWB_I32) return v.i >= a->min.i && v.i <= a->max.i;
    return v.u >= a->min.u && v.u <= a->max.u;
}

/* The value of a command in the actuator's type; 0 when it is of another. */
static int value_of(const item *it, uint8_t type, uint32_t *raw)
{
    *raw = (uint32_t)it->number;
    if (type == FWB_F32) return it->kind == FLOAT;
    if (type == FWB_BOOL) return it->kind == BOOL;
    if (type == FWB_U32) return is_u32(it);
    if (it->kind == NINT) *raw = ~*raw; /* -1 - n */
    return (it->kind == UINT || it->kind == NINT) && it->number <= INT32_MAX;
}

static fwb_receipt *find_receipt(fwb_t *b, uint32_t id)
{
    for (int i = 0; i < FWB_RECEIPTS; i++)
        if (b->receipts[i].id == id) return &b->receipts[i];
    return NULL;
}

static uint8_t carry_out(fwb_t *b, fwb_receipt *r, const item *value, uint64_t deadline_us)
{
    const fwb_config *c = b->config;
    uint32_t raw;
    if (r->actuator >= c->n_actuators) return FWB_NO_ACTUATOR;
    const fwb_actuator *a = &c->actuators[r->actuator];
    if (!value_of(value, a->type, &raw)) return FWB_TYPE;
    if (!in_range(a, raw)) return FWB_RANGE;
    if (now_of(b) > deadline_us) return FWB_EXPIRED;
    fwb_value asked, readback;
    memcpy(&asked, &raw, sizeof asked);
    readback = asked;
    enum fwb_status status = c->call->actuate(c->ctx, r->actuator, asked, &readback);
    if (status != FWB_FAILED) b->unplaced &= ~(1u << r->actuator); /* one that failed still owes its safe value */
    if (status == FWB_DONE) b->safe = 0;
    r->raw = raw_of(a->type, readback);
    r->has_value = status != FWB_PENDING;
    b->commanded = 1; /* a failed one too: it may have moved the actuator */
    return (uint8_t)status;
}

static void command(fwb_t *b, const item items[MAX_KEYS])
{
    uint32_t id = (uint32_t)items[1].number;
    fwb_receipt *known = find_receipt(b, id);
    if (known) {
        known->send = 1;
        return;
    }
    fwb_receipt *r = &b->receipts[b->receipt_at++ % FWB_RECEIPTS];
    memset(r, 0, sizeof *r);
    r->id = id;
    r->actuator = (uint8_t)items[2].number;
    r->send = 1;
    if (!before(b->last_id, id)) {
        r->status = FWB_STALE;
        return;
    }
    b->last_id = id;
    b->command_id = id;
    r->status = carry_out(b, r, &items[3], items[4].number);
    b->command_id = 0;
}

int fwb_actuated(fwb_t *b, uint32_t id, enum fwb_status status, fwb_value readback)
{
    fwb_receipt *r = id ? find_receipt(b, id) : NULL;
    if (!r || r->status != FWB_PENDING) return FWB_E_INDEX;
    r->status = (uint8_t)status;
    r->raw = raw_of(b->config->actuators[r->actuator].type, readback);
    r->has_value = 1;
    r->send = 1;
    if (status == FWB_DONE) b->safe = 0;
    return FWB_OK;
}

uint32_t fwb_command_id(const fwb_t *b) { return b->command_id; }

static void place_safe(fwb_t *b)
{
    const fwb_config *c = b->config;
    for (uint8_t i = 0; i < c->n_actuators; i++) {
        fwb_value readback;
        if (!(b->unplaced >> i & 1)) continue;
        if (c->call->actuate(c->ctx, i, c->actuators[i].safe, &readback) != FWB_FAILED) b->unplaced &= ~(1u << i);
    }
}

static void enter_safe(fwb_t *b, enum fwb_cause cause)
{
    uint64_t now = now_of(b);
    for (int i = 0; i < FWB_RECEIPTS; i++)
        if (b->receipts[i].id && b->receipts[i].status == FWB_PENDING) {
            b->receipts[i].status = FWB_SAFED;
            b->receipts[i].send = 1;
        }
    b->unplaced = b->config->n_actuators ? UINT32_MAX >> (32 - b->config->n_actuators) : 0;
    b->commanded = 0;
    b->safe = 1;
    b->safe_cause = (uint8_t)cause;
    b->safe_us = now;
    b->silent_us = now - b->heard_us;
    b->stats.safe_entries++;
    b->send_safe = 1;
    place_safe(b);
}

void fwb_safe(fwb_t *b) { enter_safe(b, FWB_BY_FIRMWARE); }

static void watch_host(fwb_t *b)
{
    if (b->unplaced) place_safe(b);
    if (!b->commanded) return;
    if (now_of(b) - b->heard_us >= (uint64_t)b->config->silence_ms * 1000) enter_safe(b, FWB_BY_SILENCE);
}

/* ---- receiving ---- */

static void acknowledge(fwb_t *b, uint32_t durable, const item *resend)
{
    lock(b);
    if (durable - b->acked <= b->next - b->acked) {
        b->acked = durable;
        if (before(b->first, durable)) b->first = durable;
        if (before(b->sent, durable)) b->sent = durable;
    }
    uint32_t from = (uint32_t)resend->number;
    if (resend->kind == UINT && from - b->acked <= b->next - b->acked) b->sent = from;
    unlock(b);
}

static int hello(fwb_t *b, const item it[MAX_KEYS])
{
    if (!is_u32(&it[0]) || it[0].number > 255 || !is_u32(&it[1]) || !may_u32(&it[2]) || !may_u32(&it[3])) return 0;
    b->send_info = 1;
    b->schema_at = 0;
    b->send_safe = 1;
    if (it[0].number < FWB_VERSION || it[1].number == 0) return 1;
    if (b->session != (uint32_t)it[1].number) {
        b->session = (uint32_t)it[1].number;
        b->last_id = 0;
        memset(b->receipts, 0, sizeof b->receipts);
    }
    b->live = 1;
    /* Frees nothing: the host may mean an earlier life of the same boot id. */
    if (it[2].kind && it[3].kind && (uint32_t)it[2].number == b->config->boot) acknowledge(b, b->acked, &it[3]);
    return 1;
}

static int is_command(const item it[MAX_KEYS])
{
    return is_u32(&it[1]) && it[1].number && it[2].kind == UINT && it[2].number <= 255
        && it[3].kind && it[4].kind == UINT;
}

/* 0 when the message is malformed. */
static int dispatch(fwb_t *b, uint8_t type, const item it[MAX_KEYS])
{
    int well_formed = type == HELLO || is_u32(&it[0]);
    if (type == ACK) well_formed = well_formed && is_u32(&it[1]) && may_u32(&it[2]);
    if (type == COMMAND) well_formed = well_formed && is_command(it);
    if (!well_formed) return 0;
    if (type == HELLO) return hello(b, it);
    int same_boot = type == PING || (uint32_t)it[0].number == b->config->boot;
    if (!b->live || !same_boot) {
        b->send_info = 1;
        return 1;
    }
    if (type == ACK) acknowledge(b, (uint32_t)it[1].number, &it[2]);
    if (type == PING) {
        b->ping_token = (uint32_t)it[0].number;
        b->send_pong = 1;
    }
    if (type == COMMAND) command(b, it);
    return 1;
}

static void take_frame(fwb_t *b)
{
    item items[MAX_KEYS];
    int size = fwb_frame_open(b->rx, b->rx_size);
    if (size == FWB_E_CRC) b->stats.crc_errors++;
    if (size == FWB_E_FRAME) b->stats.bad_frames++;
    if (size < 0) return;
    b->stats.good++;
    uint8_t type = b->rx[0];
    if (type < HELLO || type > COMMAND) {
        b->stats.unknown++;
        return;
    }
    /* Before the message, so that a command's own safe-state clock starts at its arrival. */
    uint64_t heard = now_of(b);
    if (!read_map(b->rx + 2, (size_t)size - 2, items) || !dispatch(b, type, items)) {
        b->stats.bad_messages++;
        return;
    }
    if (b->live) b->heard_us = heard;
}

void fwb_receive(fwb_t *b, const uint8_t *data, size_t size)
{
    if (!b->config) return;
    for (; size--; data++) {
        if (*data == 0) {
            if (b->rx_size && !b->rx_skip) take_frame(b);
            b->rx_size = 0;
            b->rx_skip = 0;
        } else if (b->rx_skip) {
            continue;
        } else if (b->rx_size == sizeof b->rx) {
            b->stats.oversize++;
            b->rx_skip = 1;
        } else {
            b->rx[b->rx_size++] = *data;
        }
    }
}

void fwb_reconnected(fwb_t *b)
{
    b->rx_size = b->rx_skip = 0;
    b->tx_size = b->tx_at = 0;
    b->send_zero = 1;
    b->send_info = 1;
}

/* ---- sending ---- */

/* Log and health take turns with samples, so that neither a flood of lines nor of samples starves the other. */
static int compose_extra(fwb_t *b)
{
    if (b->log_turn) {
        b->log_turn = 0;
        return 0;
    }
    b->log_turn = 1;
    if (b->log_size) return compose_log(b);
    if (b->config->health_ms) {
        uint64_t now = now_of(b);
        if (now >= b->health_us) {
            b->health_us = now + (uint64_t)b->config->health_ms * 1000;
            return compose_health(b);
        }
    }
    return 0;
}

static int compose_pending_receipt(fwb_t *b)
{
    for (int i = 0; i < FWB_RECEIPTS; i++)
        if (b->receipts[i].send) {
            b->receipts[i].send = 0;
            return compose_receipt(b, &b->receipts[i]);
        }
    return 0;
}

/* Puts the most urgent frame in tx. 0 when there is none. */
static int compose(fwb_t *b)
{
    if (b->send_info) {
        b->send_info = 0;
        return compose_info(b);
    }
    if (!b->live) return 0;
    if (b->schema_at < b->config->n_streams + b->config->n_actuators) return compose_schema(b, b->schema_at++);
    if (b->send_safe) {
        b->send_safe = 0;
        return compose_safe(b);
    }
    if (compose_pending_receipt(b)) return 1;
    if (b->send_pong) {
        b->send_pong = 0;
        return compose_pong(b);
    }
    return compose_extra(b) || compose_samples(b) || compose_extra(b);
}

/* 1 when nothing is left in tx. */
static int drain(fwb_t *b)
{
    const fwb_config *c = b->config;
    if (b->send_zero && b->tx_at == 0) {
        const uint8_t zero = 0;
        if (!c->call->write(c->ctx, &zero, 1)) return 0;
        b->send_zero = 0;
    }
    while (b->tx_at < b->tx_size) {
        size_t taken = c->call->write(c->ctx, b->tx + b->tx_at, (size_t)(b->tx_size - b->tx_at));
        if (!taken) return 0;
        b->tx_at = (uint16_t)(b->tx_at + taken);
    }
    return 1;
}

void fwb_poll(fwb_t *b)
{
    if (!b->config) return;
    watch_host(b);
    /* Bounded, so that a fast line and a full ring do not keep the caller from receiving. */
    for (int frames = 0; drain(b) && frames < FRAMES_PER_POLL && compose(b); frames++) { }
}

int fwb_log(fwb_t *b, uint8_t level, const char *text)
{
    if (!b->config || b->log_size) {
        b->stats.log_dropped++;
        return FWB_E_BUSY;
    }
    size_t size = 0;
    while (size < FWB_LOG_MAX && text[size]) size++;
    while (size && ((uint8_t)text[size] & 0xc0) == 0x80) size--; /* do not cut inside a character */
    memcpy(b->log, text, size);
    b->log_size = (uint8_t)size;
    b->log_level = level > 3 ? 3 : level;
    b->log_us = now_of(b);
    return FWB_OK;
}

/* ---- init ---- */

static int text_fits(const char *text, size_t limit) { return text && strlen(text) <= limit; }

static int schema_is_right(const fwb_config *c)
{
    if (c->n_streams > MAX_STREAMS || c->n_actuators > MAX_ACTUATORS) return 0;
    for (int i = 0; i < c->n_streams; i++) {
        const fwb_stream *s = &c->streams[i];
        if (!text_fits(s->name, 31) || !text_fits(s->unit, 15) || s->type > FWB_F32) return 0;
    }
    for (int i = 0; i < c->n_actuators; i++) {
        const fwb_actuator *a = &c->actuators[i];
        if (!text_fits(a->name, 31) || !text_fits(a->unit, 15) || a->type > FWB_F32) return 0;
    }
    return !c->n_actuators || (c->silence_ms && c->call->actuate);
}

int fwb_init(fwb_t *b, const fwb_config *c)
{
    memset(b, 0, sizeof *b);
    if (!c->call || !c->call->write || !c->call->now_us || !c->call->lock != !c->call->unlock) return FWB_E_CONFIG;
    if (!text_fits(c->device, 32) || !text_fits(c->firmware, 24) || !schema_is_right(c)) return FWB_E_CONFIG;
    if (!c->ring || !c->ring_size || (c->ring_size & (c->ring_size - 1))) return FWB_E_CONFIG;
    b->config = c;
    b->heard_us = now_of(b);
    b->send_zero = 1;
    b->send_info = 1;
    enter_safe(b, FWB_BY_BOOT);
    return FWB_OK;
}

// A bridge device as an Arduino sketch: one temperature, one relay. Put fwb.h and fwb.c beside this file.
// Written from PROTOCOL.md and fwb.h alone; it is compiled by the tests against a small stand-in for the Arduino core.
#include "fwb.h"

static const fwb_stream STREAMS[] = {
    // name, unit (UCUM), type, what the sensor can say, microseconds between samples
    { "temp", "Cel", FWB_F32, { -40.0f }, { 125.0f }, 100000 },
};

static const fwb_actuator ACTUATORS[] = {
    // name, unit, type, least, most, safe: the relay opens when the gateway has been silent for silence_ms
    { "relay", "1", FWB_F32, { 0.0f }, { 1.0f }, { 0.0f } },
};

static const int RELAY_PIN = 7, SENSOR_PIN = A0;
static fwb_t bridge;
static fwb_record ring[64];  // 6 s of samples while the gateway is away
static fwb_config config;

// micros() wraps after 71 minutes; loop() comes by more often.
static uint64_t now_us(void *) {
    static uint32_t last = 0;
    static uint64_t total = 0;
    uint32_t now = micros();
    total += (uint32_t)(now - last);
    last = now;
    return total;
}

static size_t put(void *, const uint8_t *data, size_t size) {
    size_t room = (size_t)Serial.availableForWrite();
    return Serial.write(data, size < room ? size : room);
}

static enum fwb_status actuate(void *, uint8_t, fwb_value value, fwb_value *readback) {
    digitalWrite(RELAY_PIN, value.f >= 0.5f ? HIGH : LOW);
    readback->f = digitalRead(RELAY_PIN) == HIGH ? 1.0f : 0.0f;  // what the pin says, not what was asked
    return (readback->f >= 0.5f) == (value.f >= 0.5f) ? FWB_DONE : FWB_FAILED;
}

static const fwb_callbacks CALLBACKS = { put, now_us, actuate, NULL, NULL, NULL };

void setup() {
    Serial.begin(115200);
    pinMode(RELAY_PIN, OUTPUT);
    config.device = "greenhouse-7";
    config.firmware = "1.0.0";
    // An unconnected pin is noise enough here; a counter in EEPROM is better.
    for (int i = 0; i < 32; i++) config.boot = config.boot << 1 ^ (uint32_t)analogRead(A1) ^ micros();
    config.streams = STREAMS;
    config.n_streams = 1;
    config.actuators = ACTUATORS;
    config.n_actuators = 1;
    config.ring = ring;
    config.ring_size = 64;
    config.silence_ms = 2000;
    config.call = &CALLBACKS;
    fwb_init(&bridge, &config);
}

void loop() {
    static uint64_t next_us = 0;
    while (Serial.available()) {
        uint8_t byte = (uint8_t)Serial.read();
        fwb_receive(&bridge, &byte, 1);
    }
    if (now_us(NULL) >= next_us) {
        next_us += 100000;
        fwb_value value;
        value.f = (float)analogRead(SENSOR_PIN) * 0.1f - 40.0f;
        fwb_sample(&bridge, 0, value);
    }
    fwb_poll(&bridge);
}

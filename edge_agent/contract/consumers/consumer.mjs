// Keeps everything that gateways number, each once, in a file of JSON lines, and acknowledges it when it is on disk.
//   node consumer.mjs HOST PORT FILE
import { fsyncSync, openSync, readFileSync, truncateSync, writeSync } from 'node:fs'
import { inflateSync } from 'node:zlib'
import mqtt from 'mqtt'

const [host, port, file] = process.argv.slice(2)
const out = openSync(file, 'a')
const whole = readFileSync(file, 'utf8').replace(/[^\n]*$/, '') // a line that was cut off comes again
truncateSync(file, Buffer.byteLength(whole))
const key = (row) => row.slice(0, 4).join(' ') // gateway, epoch, stream, seq
const held = new Set(whole.split('\n').filter(Boolean).map((line) => key(JSON.parse(line))))

// [gw, epoch, stream, seq, UTC in ms, content] of everything in a message that has a number
const entries = (m) => !m.seg ? [[m.gw, m.epoch, m.stream, m.seq, m.t ?? null, m]] : m.seg.flatMap((s) => {
  let t = m.t0
  return s.dt.map((dt, i) => [m.gw, m.epoch, s.stream, s.seq0 + i, t === null ? t : (t += dt),
    Object.fromEntries(Object.entries(s.ch).map(([name, c]) => [name, [c.x[i], c.q?.[i] ?? 0]]))])
})

const session = { clientId: 'consumer', clean: false, properties: { sessionExpiryInterval: 86400 } }
const client = mqtt.connect({ host, port, protocolVersion: 5, ...session })
client.on('connect', () => client.subscribe('edge/v1/+/+/+/up/#', { qos: 1 }))
client.handleMessage = ({ topic, payload }, done) => { // the broker's copy may go when `done` is called
  const [place, kind] = topic.split('/up/')
  if (!/^(tele|infer|decision|alert|ledger)(\/|$)/.test(kind)) return done() // the others have no numbers
  const m = JSON.parse(inflateSync(payload))
  const fresh = entries(m).filter((row) => !held.has(key(row))) // what comes again is there already
  writeSync(out, fresh.map((row) => JSON.stringify(row) + '\n').join(''))
  fsyncSync(out)
  fresh.forEach((row) => held.add(key(row)))
  const have = {}
  for (const s of m.seg ?? [{ stream: m.stream, seq0: m.seq, n: 1 }]) (have[s.stream] ??= []).push([s.seq0, s.seq0 + s.n - 1])
  client.publish(`${place}/down/ack`, JSON.stringify({ schema: 'ack/1', epoch: m.epoch, have }), { qos: 1 })
  done()
}

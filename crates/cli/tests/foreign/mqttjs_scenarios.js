// Scenarios for MQTT.js against any broker.
//
//     node mqttjs_scenarios.js HOST PORT VERSION SCENARIO WORD
//
// VERSION is 3.1.1 or 5; WORD begins all topics and client ids, so that runs do not meet. The
// environment may say what carries MQTT: TRANSPORT is mqtt, ws or wss, and CA the file with whom to trust.
// Ends with the line "ok SCENARIO", or with an error and exit code 1. Every wait has a deadline.
'use strict'

const assert = require('node:assert/strict')
const fs = require('node:fs')
const mqtt = require('mqtt')

const [HOST, PORT, VERSION, SCENARIO, WORD] = process.argv.slice(2)
const V5 = VERSION === '5'
const DEADLINE_MS = 20000
const TRANSPORT = process.env.TRANSPORT ?? 'mqtt'
const CA = process.env.CA ? fs.readFileSync(process.env.CA) : undefined
const EVERY_BYTE = Buffer.from(Array.from({ length: 256 }, (_, n) => n))

const topic = (rest) => `${WORD}/${rest}`

const inTime = (what, promise) => {
  let timer
  const late = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`no ${what} in time`)), DEADLINE_MS)
  })
  return Promise.race([promise, late]).finally(() => clearTimeout(timer))
}

/** Things that arrive, and people who wait for them. */
class Queue {
  constructor (what) { this.what = what; this.items = []; this.waiting = [] }
  put (item) {
    const next = this.waiting.shift()
    if (next) next(item)
    else this.items.push(item)
  }

  get () {
    if (this.items.length > 0) return Promise.resolve(this.items.shift())
    return inTime(this.what, new Promise((resolve) => this.waiting.push(resolve)))
  }
}

/** A client whose events have become things to wait for. */
class Peer {
  constructor (name, { clean = true, expiry = 0, will, reconnectPeriod = 0 } = {}) {
    this.messages = new Queue('message')
    this.connected = new Queue('CONNACK')
    this.closed = new Queue('close')
    this.disconnects = []
    this.client = mqtt.connect({
      host: HOST,
      port: Number(PORT),
      protocol: TRANSPORT,
      path: '/mqtt',
      ca: CA,
      protocolVersion: V5 ? 5 : 4,
      clientId: `${WORD}${name}`,
      clean,
      will,
      reconnectPeriod,
      properties: V5 ? { sessionExpiryInterval: expiry } : undefined
    })
    this.client.on('connect', (packet) => this.connected.put(packet))
    // A greeting that some brokers send to a client that has subscribed to nothing yet.
    const greeting = `$SYS/broker/connection/${WORD}${name}`
    this.client.on('message', (on, _payload, packet) => {
      if (on !== greeting) this.messages.put(packet)
    })
    this.client.on('disconnect', (packet) => this.disconnects.push(packet.reasonCode))
    this.client.on('close', () => this.closed.put())
    this.client.on('error', (error) => { fail(error) })
  }

  /** Whether the broker had a session for us. */
  async connect () { return (await this.connected.get()).sessionPresent }

  /** The granted QoS of each filter. */
  async subscribe (filtersAndQos) {
    const wanted = Object.fromEntries(filtersAndQos.map(([filter, qos]) => [filter, { qos }]))
    return (await inTime('SUBACK', this.client.subscribeAsync(wanted))).map((grant) => grant.qos)
  }

  unsubscribe (filter) { return inTime('UNSUBACK', this.client.unsubscribeAsync(filter)) }

  /** Done when the broker has acknowledged it, or when it is sent at QoS 0. */
  publish (name, payload, qos = 0, retain = false, properties = undefined) {
    return inTime('acknowledgement', this.client.publishAsync(name, payload, { qos, retain, properties }))
  }

  async expect (name, payload, qos, retain = false) {
    const packet = await this.messages.get()
    const seen = [packet.topic, Buffer.from(packet.payload), packet.qos, packet.retain]
    assert.deepEqual(seen, [name, Buffer.from(payload), qos, retain])
    return packet
  }

  leave () { return inTime('end', this.client.endAsync()) }

  /** Closes the socket without DISCONNECT. */
  vanish () {
    this.client.stream.destroy()
    return this.closed.get()
  }
}

const started = async (name, options) => {
  const peer = new Peer(name, options)
  await peer.connect()
  return peer
}

const thousand = async (qos) => {
  const [sender, receiver] = [await started('s'), await started('r')]
  await receiver.subscribe([[topic('t'), qos]])
  // MQTT.js sends whatever it is given at once; twenty in flight is what brokers commonly allow.
  for (let begin = 0; begin < 1000; begin += 20) {
    const numbers = Array.from({ length: 20 }, (_, n) => String(begin + n))
    const sent = numbers.map((number) => sender.publish(topic('t'), number, qos))
    for (const number of numbers) await receiver.expect(topic('t'), number, qos)
    await Promise.all(sent)
  }
  await sender.publish(topic('t'), 'end', qos)
  await receiver.expect(topic('t'), 'end', qos)
}

const SCENARIOS = {
  async round_trips () {
    const [sender, receiver] = [await started('s'), await started('r')]
    assert.deepEqual(await receiver.subscribe([[topic('t'), 2]]), [2])
    for (const qos of [0, 1, 2]) {
      for (const payload of ['words', '', EVERY_BYTE, 'Fledermäuse']) {
        await sender.publish(topic('t'), payload, qos)
        await receiver.expect(topic('t'), payload, qos)
      }
    }
  },

  async retained () {
    const [sender, live] = [await started('s'), await started('l')]
    await live.subscribe([[topic('+'), 1]])
    await sender.publish(topic('kept'), 'old', 1, true)
    await sender.publish(topic('kept'), 'new', 1, true)
    for (const payload of ['old', 'new']) await live.expect(topic('kept'), payload, 1, false)
    const late = await started('a')
    await late.subscribe([[topic('+'), 1]])
    await late.expect(topic('kept'), 'new', 1, true)
    await sender.publish(topic('kept'), '', 1, true)
    const later = await started('b')
    await later.subscribe([[topic('+'), 1]])
    await sender.publish(topic('end'), 'end', 1)
    await later.expect(topic('end'), 'end', 1)
  },

  async will () {
    const watch = await started('w')
    await watch.subscribe([[topic('will'), 2]])
    const will = (payload, qos, retain) => ({ will: { topic: topic('will'), payload, qos, retain } })
    await (await started('a', will('left', 1, false))).leave()
    await (await started('b', will('vanished', 2, false))).vanish()
    await watch.expect(topic('will'), 'vanished', 2)
    await (await started('c', will('kept', 1, true))).vanish()
    await watch.expect(topic('will'), 'kept', 1)
    const late = await started('l')
    await late.subscribe([[topic('will'), 1]])
    await late.expect(topic('will'), 'kept', 1, true)
    await watch.publish(topic('will'), '', 1, true)
  },

  async persistent_session () {
    const sender = await started('s')
    const away = new Peer('p', { clean: false, expiry: 3600 })
    assert.equal(await away.connect(), false, 'a session that nobody made')
    await away.subscribe([[topic('t/+'), 2]])
    await away.leave()
    for (const qos of [1, 2]) {
      for (let n = 0; n < 100; n++) await sender.publish(topic(`t/${qos}`), String(n), qos)
    }
    const back = new Peer('p', { clean: false, expiry: 3600 })
    assert.equal(await back.connect(), true, 'the session is gone')
    for (const qos of [1, 2]) {
      for (let n = 0; n < 100; n++) await back.expect(topic(`t/${qos}`), String(n), qos)
    }
    // The subscription is still there, and nothing comes twice.
    await sender.publish(topic('t/2'), 'end', 2)
    await back.expect(topic('t/2'), 'end', 2)
    await back.leave()
    const fresh = new Peer('p', { clean: true })
    assert.equal(await fresh.connect(), false, 'a clean start kept the session')
    await sender.publish(topic('t/1'), 'nobody', 1)
    await fresh.subscribe([[topic('end'), 1]])
    await sender.publish(topic('end'), 'end', 1)
    await fresh.expect(topic('end'), 'end', 1)
  },

  thousand_at_qos_1: () => thousand(1),

  thousand_at_qos_2: () => thousand(2),

  async take_over () {
    const watch = await started('w')
    await watch.subscribe([[topic('will'), 1]])
    const first = await started('x', { will: { topic: topic('will'), payload: 'taken', qos: 1, retain: false } })
    await first.subscribe([[topic('t'), 1]])
    const second = await started('x')
    await first.closed.get()
    if (V5) assert.deepEqual(first.disconnects, [0x8e], 'Session taken over')
    await watch.expect(topic('will'), 'taken', 1)
    await second.subscribe([[topic('t'), 1]])
    await watch.publish(topic('t'), 'to the second', 1)
    await second.expect(topic('t'), 'to the second', 1)
    assert.equal(first.messages.items.length, 0)
  },

  async unsubscribe () {
    const [sender, receiver] = [await started('s'), await started('r')]
    await receiver.subscribe([[topic('a'), 1], [topic('b'), 1]])
    await receiver.unsubscribe(topic('a'))
    await receiver.unsubscribe(topic('never subscribed'))
    await sender.publish(topic('a'), 'no more', 1)
    await sender.publish(topic('b'), 'still', 1)
    await receiver.expect(topic('b'), 'still', 1)
  },

  async many_filters () {
    const [sender, receiver] = [await started('s'), await started('r')]
    const filters = Array.from({ length: 50 }, (_, n) => [topic(`f/${n}`), n % 3])
    assert.deepEqual(await receiver.subscribe(filters), filters.map(([, qos]) => qos))
    for (const [name, qos] of filters) {
      await sender.publish(name, 'x', 2)
      await receiver.expect(name, 'x', qos)
    }
  },

  async large () {
    const [sender, receiver] = [await started('s'), await started('r')]
    await receiver.subscribe([[topic('t'), 2]])
    for (const qos of [0, 1, 2]) {
      for (const size of [1, 125, 126, 65535, 65536, 300000, 1900000]) {
        const payload = Buffer.alloc(size, EVERY_BYTE.subarray(0, 251))
        await sender.publish(topic('t'), payload, qos)
        await receiver.expect(topic('t'), payload, qos)
      }
    }
  },

  async reconnects () {
    const sender = await started('s')
    const receiver = await started('r', { clean: false, expiry: 3600, reconnectPeriod: 100 })
    await receiver.subscribe([[topic('t'), 2]])
    for (const round of ['0', '1', '2']) {
      await receiver.vanish()
      for (const qos of [1, 2]) await sender.publish(topic('t'), round, qos)
      assert.equal(await receiver.connect(), true, 'the session is gone')
      for (const qos of [1, 2]) await receiver.expect(topic('t'), round, qos)
    }
    await receiver.leave()
  },

  async properties () {
    const [sender, receiver] = [await started('s'), await started('r')]
    await receiver.subscribe([[topic('t'), 1]])
    const given = {
      payloadFormatIndicator: true,
      messageExpiryInterval: 600,
      contentType: 'text/plain; charset=utf-8',
      responseTopic: topic('answer'),
      correlationData: EVERY_BYTE,
      userProperties: { a: ['1', '2'], b: '', ä: '日本' }
    }
    await sender.publish(topic('t'), 'words', 1, false, given)
    const got = (await receiver.expect(topic('t'), 'words', 1)).properties
    // What is left of it: the time it waited is taken off [MQTT5-3.3.2-6].
    assert.ok(got.messageExpiryInterval >= 590 && got.messageExpiryInterval <= 600)
    assert.deepEqual({ ...got.userProperties }, given.userProperties)
    for (const name of ['payloadFormatIndicator', 'contentType', 'responseTopic', 'correlationData']) {
      assert.deepEqual(got[name], given[name], name)
    }
    await sender.publish(topic('t'), 'bare', 1)
    assert.equal((await receiver.expect(topic('t'), 'bare', 1)).properties, undefined)
  }
}

const fail = (error) => {
  console.error(error)
  process.exit(1)
}

SCENARIOS[SCENARIO]().then(() => {
  console.log('ok', SCENARIO)
  process.exit(0)
}, fail)

/**
 * AMQP 0-9-1 as bytes, as far as the load generator writes it. It keeps nothing and does no I/O.
 *
 * Written apart from the broker's own wire code on purpose: a benchmark that shared it would not notice a frame both get wrong.
 */
export const PROTOCOL_HEADER = Buffer.from('AMQP\x00\x00\x09\x01', 'latin1');
export const FRAME_END = 0xce;
/** Type, channel and size before the payload, the end octet behind it. */
export const FRAME_OVERHEAD_BYTES = 8;
export const FRAME_BYTES_MAX = 131_072;

export const FrameType = { method: 1, header: 2, body: 3, heartbeat: 8 } as const;

const method = (classId: number, methodId: number): number => classId * 65_536 + methodId;

/** Class and method read as one number. */
export const Method = {
  connectionStart: method(10, 10),
  connectionStartOk: method(10, 11),
  connectionTune: method(10, 30),
  connectionTuneOk: method(10, 31),
  connectionOpen: method(10, 40),
  connectionOpenOk: method(10, 41),
  connectionClose: method(10, 50),
  connectionCloseOk: method(10, 51),
  channelOpen: method(20, 10),
  channelOpenOk: method(20, 11),
  channelClose: method(20, 40),
  queueDeclare: method(50, 10),
  queueDeclareOk: method(50, 11),
  exchangeDeclare: method(40, 10),
  exchangeDeclareOk: method(40, 11),
  exchangeDelete: method(40, 20),
  exchangeDeleteOk: method(40, 21),
  queueBind: method(50, 20),
  queueBindOk: method(50, 21),
  queueDelete: method(50, 40),
  queueDeleteOk: method(50, 41),
  basicQos: method(60, 10),
  basicQosOk: method(60, 11),
  basicConsume: method(60, 20),
  basicConsumeOk: method(60, 21),
  basicCancel: method(60, 30),
  basicPublish: method(60, 40),
  basicReturn: method(60, 50),
  basicDeliver: method(60, 60),
  basicAck: method(60, 80),
  basicNack: method(60, 120),
  confirmSelect: method(85, 10),
  confirmSelectOk: method(85, 11),
} as const;

export function u8(value: number): Buffer {
  return Buffer.from([value]);
}

export function u16(value: number): Buffer {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(value);
  return bytes;
}

export function u32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

export function u64(value: number): Buffer {
  const bytes = Buffer.alloc(8);
  writeU64(bytes, 0, value);
  return bytes;
}

export function shortString(value: string): Buffer {
  const text = Buffer.from(value);
  return Buffer.concat([u8(text.length), text]);
}

export function longString(value: string): Buffer {
  const text = Buffer.from(value);
  return Buffer.concat([u32(text.length), text]);
}

/** A field table whose values are strings or whole numbers of 32 bits. */
export function table(fields: Readonly<Record<string, string | number>>): Buffer {
  const entries = Object.entries(fields).map(([name, value]) => {
    const typed = typeof value === 'string' ? [Buffer.from('S'), longString(value)] : [Buffer.from('I'), u32(value)];
    return Buffer.concat([shortString(name), ...typed]);
  });
  const content = Buffer.concat(entries);
  return Buffer.concat([u32(content.length), content]);
}

/** Two 32-bit halves instead of a BigInt, which is several times slower; exact up to 2^53. */
export function writeU64(target: Buffer, offset: number, value: number): void {
  target.writeUInt32BE(Math.floor(value / 4_294_967_296), offset);
  target.writeUInt32BE(value % 4_294_967_296, offset + 4);
}

export function readU64(source: Buffer, offset: number): number {
  return source.readUInt32BE(offset) * 4_294_967_296 + source.readUInt32BE(offset + 4);
}

export function frame(type: number, channel: number, payload: Buffer): Buffer {
  return Buffer.concat([u8(type), u16(channel), u32(payload.length), payload, u8(FRAME_END)]);
}

export function methodFrame(channel: number, id: number, ...fields: readonly Buffer[]): Buffer {
  return frame(FrameType.method, channel, Buffer.concat([u32(id), ...fields]));
}

export interface PublishedMessage {
  readonly exchange?: string;
  readonly routingKey: string;
  readonly body: Buffer;
  readonly isPersistent: boolean;
  readonly headers?: Readonly<Record<string, string | number>>;
  readonly priority?: number;
}

/** The header and body frames of one message; the body fits one frame. */
function contentFrames(channel: number, { body, isPersistent, headers, priority }: Omit<PublishedMessage, 'routingKey'>): Buffer {
  const flags = (headers === undefined ? 0 : 0x2000) | 0x1000 | (priority === undefined ? 0 : 0x0800);
  const properties = [headers === undefined ? Buffer.alloc(0) : table(headers), u8(isPersistent ? 2 : 1)];
  if (priority !== undefined) properties.push(u8(priority));
  const header = Buffer.concat([u16(60), u16(0), u64(body.length), u16(flags), ...properties]);
  return Buffer.concat([frame(FrameType.header, channel, header), frame(FrameType.body, channel, body)]);
}

/** Method, header and body frame that publish a message; the body stands last, before the end octet. */
export function publishTriple(channel: number, message: PublishedMessage): Buffer {
  const { exchange = '', routingKey } = message;
  const publish = methodFrame(channel, Method.basicPublish, u16(0), shortString(exchange), shortString(routingKey), u8(0));
  return Buffer.concat([publish, contentFrames(channel, message)]);
}

/** What a broker sends for one message; only the stand-in server of the consuming ceiling needs it. */
export function deliverTriple(channel: number, consumerTag: string, deliveryTag: number, queue: string, body: Buffer): Buffer {
  const deliver = methodFrame(
    channel,
    Method.basicDeliver,
    shortString(consumerTag),
    u64(deliveryTag),
    u8(0),
    shortString(''),
    shortString(queue),
  );
  return Buffer.concat([deliver, contentFrames(channel, { body, isPersistent: false })]);
}

import type { Random, Socket, SocketEvents, Timer } from '@dovecote/ground';
import { frameOverheadBytes } from '../queues/content.js';
import { Owner } from '../queues/owner.js';
import type { UserAccess } from '../engine/user-access.js';
import type { VirtualHost } from '../queues/virtual-host.js';
import { channelMethods, definitionMethods, lookingMethods, unansweredMethods } from './channel-methods.js';
import { Channel, type ChannelLine } from './channel.js';
import type { ConnectionParts } from './connection-parts.js';
import { ackFrameBytes, ackId, DeliveryWriter } from './delivery.js';
import { takeFastAck } from './fast-ack.js';
import { type FrameReceiver, FrameReader, frameTypes, isKnownFrame } from './frames.js';
import { Handshake } from './handshake.js';
import { Heartbeat, heartbeatFrame } from './heartbeat.js';
import { type Arguments, decodeArguments, encodeMethod, type Method, methodById, methodFrame, methodFrameBytes } from './method-codec.js';
import type { ConnectionMethodName, MethodName } from './methods.js';
import { Output, unsentBytesMax } from './output.js';
import { SlowReader } from '../slow-reader.js';
import { isProtocolHeader, ourProtocolHeader, protocolHeaderBytes, strangerOn } from './protocol-header.js';
import { publishId } from './publisher.js';
import type { RouteCache } from './route-cache.js';
import {
  AmqpError,
  closeValues,
  erlangSnippet,
  type FailingMethod,
  logText,
  refusalIn,
  replyCodes,
  type ReplyName,
  replyText,
  shortText,
  unknownMethod,
} from './replies.js';

/** Why we do not read the socket at the moment; several may hold at once. */
const heldFor = { commit: 1, gate: 2, drain: 4, messages: 8, login: 16 } as const;

const nothingFails = { classId: 0, methodId: 0 };
const publishMethod = methodById(publishId)!;
const closeOkFrame = methodFrame('connection.close-ok', {}, 0);

/**
 * One client: its socket, its frames, its channels.
 *
 *   greeting → handshake → running → closing → closed          (every state may end in closed: the socket went away)
 *
 * `closing` means that we have sent connection.close: everything but its answer is thrown away, and the socket ends after
 * `closeTimeoutMs` at the latest. Nothing survives the connection but what its sessions have put into the queues.
 */
export class Connection implements SocketEvents, FrameReceiver, ChannelLine {
  readonly name: string;
  /** Until connection.open the first one: what it has in common with the others is all that is asked of it. */
  host: VirtualHost;
  access: UserAccess | undefined;
  routes!: RouteCache;
  readonly random: Random;
  readonly deliveries: DeliveryWriter;
  readonly messageBytesMax: number;
  payloadBytesMax = 0;
  readonly room = (): Buffer => this.parts.readBlock;
  readonly onFilled = (length: number): void => this.onData(this.parts.readBlock.subarray(0, length));
  readonly connectedAt: number;
  state: 'greeting' | 'handshake' | 'running' | 'closing' | 'closed' = 'greeting';
  private readonly output: Output;
  private readonly reader: FrameReader;
  readonly handshake: Handshake;
  private readonly heartbeat: Heartbeat;
  private readonly slowReader: SlowReader;
  private owner = new Owner();
  readonly channels = new Map<number, Channel>();
  private lastChannel: Channel | undefined;
  private greeting = Buffer.alloc(0);
  private held = 0;
  private waitingReplies = 0;
  /** The method at hand has waited for the messages that were published before it. */
  private hasWaited = false;
  private lookCount = 0;
  private unfinishedBytes = 0;
  private isBlockedTold = false;
  private isUnreadable = false;
  /** Ends the handshake, or the close, that takes too long. */
  private deadline: Timer;

  constructor(
    readonly socket: Socket,
    readonly parts: ConnectionParts,
  ) {
    const { hosts, limits, clock, log } = parts;
    this.name = `${socket.remoteAddress}:${socket.remotePort}`;
    this.host = hosts.first;
    this.connectedAt = clock.now();
    this.random = parts.random;
    this.messageBytesMax = limits.messageBytesMax;
    this.output = new Output(socket, hosts.first.turn, parts.pool, () => this.becomeSlow());
    this.deliveries = new DeliveryWriter(this.output);
    this.reader = new FrameReader(this, limits.handshakeFrameBytesMax);
    this.handshake = new Handshake({
      limits,
      login: (user, password, address) =>
        parts.isLocal || (password === undefined ? hosts.access.knows(user, address) : hosts.access.login(user, password, address)),
      // Some clients with a certificate take EXTERNAL wherever it is offered, also where they mean to come with a password.
      peerName: hosts.access.knows(socket.peerName ?? '', socket.remoteAddress) ? socket.peerName : undefined,
      enter: (virtualHost) => this.enter(virtualHost),
      remoteAddress: socket.remoteAddress,
      log,
      send: (name, values) => this.send(name, values, 0),
    });
    this.heartbeat = new Heartbeat(clock, this);
    this.slowReader = new SlowReader(clock, socket, limits.sendTimeoutMs, (why) => this.lost(why));
    this.deadline = clock.after(limits.handshakeTimeoutMs, () => {
      log(`${this.name}: no AMQP handshake within ${limits.handshakeTimeoutMs} ms, closed`);
      socket.destroy();
    });
    socket.start(this);
  }

  get user(): string {
    return this.handshake.user;
  }

  /** Whether it may publish in the name of others. */
  get isImpersonator(): boolean {
    return this.parts.hosts.access.tagsOf(this.user)?.includes('impersonator') === true;
  }

  /** The virtual host that it opened; undefined before that. */
  get virtualHost(): string | undefined {
    return this.access === undefined ? undefined : this.host.name;
  }

  /** It wants to publish, and may not now. */
  get isBlocked(): boolean {
    return (this.held & heldFor.gate) !== 0;
  }

  get isToldOfCancels(): boolean {
    return this.handshake.isToldOfCancels;
  }

  get sentBytes(): number {
    return this.output.sentBytes;
  }

  get receivedBytes(): number {
    return this.socket.receivedBytes;
  }

  get isListening(): boolean {
    return this.held === 0;
  }

  /** Tells the client that the broker ends the connection, and why. */
  close(reply: ReplyName, explanation: string): void {
    if (this.state === 'greeting') this.socket.destroy();
    else this.closeWith(reply, explanation, nothingFails);
    this.output.flush(); // there may be no further turn
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** Publishers may publish again, or may not any longer. */
  gateChanged(): void {
    if (this.host.isDiskFull) this.look();
    if ((this.held & heldFor.gate) === 0) return;
    if (this.host.gate === 'open') {
      if (this.isBlockedTold) this.send('connection.unblocked', {}, 0);
      this.isBlockedTold = false;
      this.release(heldFor.gate);
    } else this.tellBlocked();
  }

  /** Its user may do more now, or less. */
  permissionsChanged(routesOf: (host: VirtualHost, access: UserAccess) => RouteCache): void {
    if (this.access === undefined) return;
    this.host.forgetRoutes();
    this.routes = routesOf(this.host, this.access);
  }

  // What the socket says.

  onData(bytes: Buffer): void {
    if (this.state === 'greeting') this.greet(bytes);
    else if (this.isUnreadable) this.lookForCloseOk(bytes);
    else this.reader.push(bytes);
  }

  onDrain(): void {
    this.slowReader.forget();
    for (const channel of this.channels.values()) channel.session.setWritable(true);
    this.release(heldFor.drain);
  }

  onClose(): void {
    this.state = 'closed';
    this.end();
    this.output.close();
    this.deadline.cancel();
    this.parts.gone(this);
  }

  // What the heartbeat says.

  sendHeartbeat(): void {
    this.output.write(heartbeatFrame, 0, heartbeatFrame.length);
  }

  lost(why = `missed heartbeats from client, timeout ${this.handshake.heartbeatS} s`): void {
    this.parts.log(`${this.name}: ${why}, closed`);
    this.socket.destroy();
  }

  // What channels need.

  send<N extends MethodName>(name: N, values: Arguments<N>, channel: number): void {
    const { output } = this;
    output.reserve(methodFrameBytes(name, values));
    output.used = encodeMethod(name, values, channel, output.bytes, output.used);
  }

  sendAfterCommit<N extends MethodName>(name: N, values: Arguments<N>, channel: number): void {
    if (!this.host.hasPendingDefinitions) {
      this.send(name, values, channel);
      return;
    }
    this.waitingReplies++;
    this.host.afterCommit(() => {
      this.waitingReplies--;
      if (this.state !== 'running') return;
      this.send(name, values, channel);
      if (this.waitingReplies === 0) this.release(heldFor.commit);
    });
  }

  closeChannel(channel: Channel, reason: AmqpError): void {
    if (this.state === 'running' && channel.state === 'open') this.refuse(reason, channel, nothingFails);
  }

  countUnfinished(bytes: number): void {
    this.unfinishedBytes += bytes;
    const max = this.parts.limits.unfinishedBytesMax;
    if (this.unfinishedBytes <= max) return;
    this.unfinishedBytes -= bytes;
    throw new AmqpError(
      'resource-error',
      `more than ${max} bytes of unfinished messages on this connection: finish some before you begin others`,
    );
  }

  returnMessage(channel: number, bytes: Buffer, start: number, length: number): void {
    this.deliveries.returnUnroutable(channel, bytes, start, length);
  }

  // What the frame reader says.

  takeFast(bytes: Buffer, view: DataView, at: number, end: number): number {
    if (this.state !== 'running' || end - at < ackFrameBytes || bytes[at] !== frameTypes.method) return at;
    const id = view.getUint32(at + 7);
    if (id !== publishId && id !== ackId) return at;
    const channelId = view.getUint16(at + 1);
    let channel = this.lastChannel;
    if (channel === undefined || channel.id !== channelId) {
      channel = this.channels.get(channelId);
      if (channel === undefined) return at;
      this.lastChannel = channel;
    }
    if (channel.state !== 'open' || channel.publisher.stage !== 'idle') return at;
    if (id === ackId) return takeFastAck(channel, bytes, view, at);
    if (this.host.gate !== 'open') {
      this.holdForGate();
      return at;
    }
    try {
      return channel.publisher.takeFast(bytes, view, at, end);
    } catch (error) {
      this.refuse(error, channel, publishMethod);
      return channel.publisher.fastEnd;
    }
  }

  takeFrame(type: number, channelId: number, bytes: Buffer, start: number, end: number): boolean {
    if (this.state === 'closing') this.takeWhileClosing(type, channelId, bytes, start, end);
    else if (this.state === 'closed') return true;
    else if (type === frameTypes.heartbeat) this.takeHeartbeat(channelId, bytes.subarray(start, end));
    else if (!isKnownFrame(type, end - start)) {
      this.closeWith('frame-error', `type ${type}, ${erlangSnippet(bytes.subarray(start, end))}: unknown_frame`, nothingFails);
    } else if (channelId === 0 && type === frameTypes.method) return this.takeConnectionMethod(bytes, start, end);
    else if (channelId === 0 || this.state !== 'running') {
      this.closeWith('unexpected-frame', `type ${type}, ${erlangSnippet(bytes.subarray(start, end))}`, nothingFails);
    } else return this.takeChannelFrame(type, channelId, bytes, start, end);
    return true;
  }

  refuseFrame(reason: 'too-large' | 'no-frame-end', type: number, size: number, payload: Buffer, endOctet: number): void {
    this.isUnreadable = true;
    if (this.state === 'closing') return;
    const what =
      reason === 'too-large'
        ? `{frame_too_large,${size},${this.reader.frameBytesMax - frameOverheadBytes}}`
        : `{invalid_frame_end_marker,${endOctet}}`;
    this.closeWith('frame-error', `type ${type}, ${erlangSnippet(payload)}: ${what}`, nothingFails);
  }

  // The rest is our own business.

  /** The eight bytes before the first frame. */
  private greet(bytes: Buffer): void {
    const greeting = this.greeting.length === 0 ? bytes : Buffer.concat([this.greeting, bytes]);
    const head = greeting.subarray(0, protocolHeaderBytes);
    if (!isProtocolHeader(head)) {
      this.state = 'closed';
      this.parts.log(`${this.name}: ${strangerOn(head)}`);
      this.socket.write(ourProtocolHeader);
      this.socket.end();
      return;
    }
    if (head.length < protocolHeaderBytes) {
      this.greeting = Buffer.from(head);
      return;
    }
    this.state = 'handshake';
    this.handshake.start();
    if (greeting.length > protocolHeaderBytes) this.reader.push(greeting.subarray(protocolHeaderBytes));
  }

  private takeHeartbeat(channelId: number, payload: Buffer): void {
    if (payload.length > 0) this.closeWith('frame-error', `type 8, ${erlangSnippet(payload)}: unknown_frame`, nothingFails);
    else if (channelId !== 0) this.closeWith('unexpected-frame', `type 8, ${erlangSnippet(payload)}`, nothingFails);
  }

  private takeWhileClosing(type: number, channelId: number, bytes: Buffer, start: number, end: number): void {
    if (type !== frameTypes.method || channelId !== 0 || end - start < 4) return;
    const name = methodById(bytes.readUInt32BE(start))?.name;
    if (name === 'connection.close') this.send('connection.close-ok', {}, 0);
    if (name === 'connection.close-ok' || name === 'connection.close') this.hangUp();
  }

  /** After a frame that broke the framing, the answer to our close may still stand whole in what comes. */
  private lookForCloseOk(bytes: Buffer): void {
    if (bytes.includes(closeOkFrame)) this.hangUp();
  }

  private takeConnectionMethod(bytes: Buffer, start: number, end: number): boolean {
    const method = methodById(bytes.readUInt32BE(start));
    try {
      if (method === undefined) throw unknownMethod(bytes, start);
      if (method.name === 'connection.close' && this.waitingReplies > 0) {
        this.hold(heldFor.commit);
        return false;
      }
      this.takeConnection(method, decodeArguments(method, bytes, start + 4, end));
    } catch (error) {
      this.refuse(error, undefined, method ?? nothingFails);
    }
    return true;
  }

  private takeConnection(method: Method, values: unknown): void {
    const name = method.name as ConnectionMethodName;
    if (name === 'connection.close') {
      this.end();
      this.send('connection.close-ok', {}, 0);
      this.hangUp();
    } else if (this.state === 'running') {
      if (name !== 'connection.update-secret') throw new AmqpError('channel-error', 'unexpected method in connection state running');
      this.send('connection.update-secret-ok', {}, 0);
    } else this.takeHandshake(name, method, this.handshake.take(name, values));
  }

  private takeHandshake(name: ConnectionMethodName, method: Method, outcome: ReturnType<Handshake['take']>): void {
    if (outcome instanceof Promise) {
      this.hold(heldFor.login);
      void outcome.then((finish) => this.finishLogin(method, finish));
    } else if (outcome === 'refused') {
      this.state = 'closing';
      this.replaceDeadline(this.parts.limits.refusedLoginDelayMs);
    } else if (name === 'connection.tune-ok') {
      this.reader.frameBytesMax = this.handshake.frameBytesMax;
      this.payloadBytesMax = this.handshake.frameBytesMax - frameOverheadBytes;
      this.deliveries.payloadBytesMax = this.payloadBytesMax;
      this.heartbeat.start(this.handshake.heartbeatS);
    } else if (this.handshake.state === 'running') {
      this.state = 'running';
      this.deadline.cancel();
    }
  }

  /** The password was checked on another thread; the connection may be gone by now. */
  private finishLogin(method: Method, finish: () => 'going-on' | 'refused'): void {
    if (this.state !== 'handshake') return;
    try {
      this.takeHandshake('connection.start-ok', method, finish());
    } catch (error) {
      this.refuse(error, undefined, method);
    }
    this.release(heldFor.login);
  }

  private enter(virtualHost: string): void {
    const { host, access, routes } = this.parts.enter(this.user, virtualHost, this.parts.isLocal);
    this.host = host;
    this.access = access;
    this.routes = routes;
    this.owner = host.createOwner(access);
  }

  private takeChannelFrame(type: number, channelId: number, bytes: Buffer, start: number, end: number): boolean {
    const channel = this.channels.get(channelId);
    let method: Method | undefined;
    try {
      if (type !== frameTypes.method) {
        if (channel === undefined) throw new AmqpError('unexpected-frame', 'expected method frame, got non method frame instead');
        method = channel.publisher.stage === 'idle' ? undefined : publishMethod;
        if (channel.state === 'closing') return true;
        if (type === frameTypes.header) channel.publisher.takeHeader(bytes, start, end);
        else channel.publisher.takeBody(bytes, start, end);
        return true;
      }
      const isInContent = channel !== undefined && channel.state === 'open' && channel.publisher.stage !== 'idle';
      method = isInContent ? publishMethod : methodById(bytes.readUInt32BE(start));
      if (isInContent) throw channel.publisher.unexpected();
      if (channel?.state === 'closing') this.takeOnClosingChannel(channel, method?.name);
      else if (method === undefined) throw unknownMethod(bytes, start);
      else if (channel === undefined) this.openChannel(channelId, method.name);
      else if (this.mustWait(method.name) || this.mustSeeMessages(channel, method.name, bytes, start)) return false;
      else if (method.name === 'basic.publish') channel.publisher.begin(bytes, start + 6, end);
      else this.takeChannelMethod(channel, method, decodeArguments(method, bytes, start + 4, end));
    } catch (error) {
      this.refuse(error, channel, method ?? nothingFails);
    }
    return true;
  }

  /** Whether the method must be offered again later, because its turn has not come; then we hold. */
  private mustWait(name: MethodName): boolean {
    if (name === 'basic.publish' && this.host.gate !== 'open') {
      this.holdForGate();
      return true;
    }
    if (this.waitingReplies === 0 || definitionMethods.has(name) || unansweredMethods.has(name)) return false;
    this.hold(heldFor.commit);
    return true;
  }

  /**
   * The same for a look into a queue, for which messages are on their way to the disk: a client that publishes and then counts or
   * fetches finds what it has published. It waits for one commit, not for publishers to pause.
   */
  private mustSeeMessages(channel: Channel, name: MethodName, bytes: Buffer, start: number): boolean {
    if (!lookingMethods.has(name)) return false;
    if (this.hasWaited) {
      this.hasWaited = false;
      return false;
    }
    const given = bytes.toString('utf8', start + 7, start + 7 + bytes[start + 6]!);
    // On a full disk nothing is committed, and who consumes must not wait for that.
    if (this.host.isDiskFull) return false;
    const look = ++this.lookCount;
    const isWaiting = this.host.afterMessagesOf(given === '' ? (channel.lastQueue ?? '') : given, () => {
      if (look === this.lookCount) this.look();
    });
    if (isWaiting) this.hold(heldFor.messages);
    return isWaiting;
  }

  /** Goes on with the method that waits for messages, if one does. */
  private look(): void {
    if ((this.held & heldFor.messages) === 0) return;
    this.hasWaited = true;
    this.release(heldFor.messages);
  }

  private takeChannelMethod(channel: Channel, method: Method, values: object): void {
    const { name } = method;
    if (name === 'channel.open') throw new AmqpError('channel-error', "second 'channel.open' seen");
    if (name === 'channel.close') {
      channel.close();
      this.forget(channel);
      this.send('channel.close-ok', {}, channel.id);
      return;
    }
    if (!(name in channelMethods)) throw new AmqpError('command-invalid', 'unimplemented method');
    const run = channelMethods[name as keyof typeof channelMethods] as (channel: Channel, values: object) => void;
    run(channel, values);
  }

  private openChannel(id: number, name: MethodName): void {
    if (name !== 'channel.open') throw new AmqpError('channel-error', "expected 'channel.open'");
    const max = this.handshake.channelsMax;
    if (this.channels.size >= max) {
      const explanation = `number of channels opened (${this.channels.size}) has reached the negotiated channel_max (${max})`;
      return this.closeWith('not-allowed', explanation, nothingFails);
    }
    const channel = new Channel(id, this, (sink) => this.host.createSession(this.owner, sink));
    if (this.slowReader.isWatched) channel.session.setWritable(false);
    this.channels.set(id, channel);
    this.send('channel.open-ok', {}, id);
  }

  /**
   * Our channel.close waits for its answer. A close by the client that crossed ours is answered too; some clients then consider
   * the number free at once, so that an open is taken as the answer.
   */
  private takeOnClosingChannel(channel: Channel, name: MethodName | undefined): void {
    if (name === 'channel.close') {
      channel.isClosedByClient = true;
      this.send('channel.close-ok', {}, channel.id);
    } else if (name === 'channel.close-ok') this.forget(channel);
    else if (name === 'channel.open' && channel.isClosedByClient) {
      this.forget(channel);
      this.openChannel(channel.id, name);
    }
  }

  private forget(channel: Channel): void {
    this.channels.delete(channel.id);
    if (this.lastChannel === channel) this.lastChannel = undefined;
  }

  /** Turns what was thrown into the close that the protocol has for it. Anything unforeseen goes on to whoever runs the process. */
  private refuse(error: unknown, channel: Channel | undefined, method: FailingMethod): void {
    const { reply, message } = refusalIn(error);
    if (channel === undefined || replyCodes[reply].closes === 'connection') {
      this.closeWith(reply, message, reply === 'access-refused' ? nothingFails : method);
      return;
    }
    channel.close();
    this.sendAfterCommit('channel.close', closeValues(reply, message, method), channel.id);
  }

  private closeWith(reply: ReplyName, explanation: string, method: FailingMethod): void {
    if (this.state === 'closing' || this.state === 'closed') return;
    if (reply !== 'connection-forced') this.parts.log(logText(`${this.name}: closed, ${replyText(reply, explanation)}`));
    this.state = 'closing';
    this.end();
    this.send('connection.close', closeValues(reply, explanation, method), 0);
    this.replaceDeadline(this.parts.limits.closeTimeoutMs);
    this.held = 0;
    this.reader.release();
    this.socket.resume();
  }

  /** Gives back what the channels hold; exclusive queues go with the connection. */
  private end(): void {
    this.heartbeat.stop();
    this.slowReader.forget();
    for (const channel of this.channels.values()) channel.close();
    this.channels.clear();
    this.lastChannel = undefined;
    this.host.closeOwner(this.owner);
    if (this.state === 'closed') this.reader.stop();
  }

  private hangUp(): void {
    this.state = 'closed';
    this.reader.stop();
    this.output.close();
    this.socket.end();
    this.replaceDeadline(this.parts.limits.closeTimeoutMs);
  }

  private replaceDeadline(delayMs: number): void {
    this.deadline.cancel();
    this.deadline = this.parts.clock.after(delayMs, () => this.socket.destroy());
  }

  private hold(reason: number): void {
    this.held |= reason;
    this.reader.hold();
    this.socket.pause();
  }

  private release(reason: number): void {
    if ((this.held & reason) === 0) return;
    this.held &= ~reason;
    if (this.held !== 0 || this.state === 'closed') return;
    this.reader.release();
    if (this.isListening) this.socket.resume();
  }

  private holdForGate(): void {
    this.hold(heldFor.gate);
    this.tellBlocked();
  }

  private tellBlocked(): void {
    if (this.host.gate !== 'blocked' || this.isBlockedTold || !this.handshake.isToldOfBlocks) return;
    this.isBlockedTold = true;
    this.send('connection.blocked', { reason: shortText(this.host.gateReason) }, 0);
  }

  /** The peer reads more slowly than we write: no more deliveries, and in the end nothing more from it either. */
  private becomeSlow(): void {
    if (this.state === 'closed') return;
    if (this.slowReader.watch()) for (const channel of this.channels.values()) channel.session.setWritable(false);
    if (this.socket.unsentBytes > unsentBytesMax) this.hold(heldFor.drain);
  }
}

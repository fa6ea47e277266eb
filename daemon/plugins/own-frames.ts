/** Pictures a plugin gets by itself: from the plugin's word that there is one to the event it ends in. */
import { ulid } from 'ulid';
import { checkStreamName } from '../bus/topics';
import { HearthError } from '../errors';
import { type Log, messageOf } from '../log';
import { decodeImage } from '../media/image';
import { sha256Of } from '../streams/item';
import type { FrameItem } from './api';
import { fromPlugin } from './plugin-process';
import type { PluginHostDependencies } from './ports';
import type { WireError } from './rpc';
import { errorEvent } from './stream-event';
import { itemTask, type Tasks } from './task';

/** A plugin's that are open at a time: decoded, one may take 7 MB. */
const maxOpen = 4;

export interface OwnFramesOptions extends Pick<PluginHostDependencies, 'bus' | 'options' | 'onPicture' | 'checkFrame'> {
  readonly plugin: () => string;
  readonly tasks: Tasks;
  readonly log: Log;
}

interface Open {
  item: FrameItem;
  readonly timer: NodeJS.Timeout;
  end?: () => void;
}

export class OwnFrames {
  readonly #options: OwnFramesOptions;
  readonly #open = new Map<string, Open>();

  constructor(options: OwnFramesOptions) {
    this.#options = options;
  }

  get openCount(): number {
    return this.#open.size;
  }

  /** Throws `STREAM_NAME_INVALID`, `BUS_TOPIC_INVALID`, `STREAM_OFF` or `MEDIA_STORE_FULL`. */
  open({
    stream,
    topic,
    capturedTs = Date.now() / 1000,
  }: Pick<FrameItem, 'stream' | 'topic'> & { readonly capturedTs?: number }): string {
    checkStreamName(String(stream));
    if (typeof topic !== 'string' || topic.length > 1024 || !Number.isFinite(capturedTs)) {
      throw new HearthError('PLUGIN_EMIT_INVALID', 'withFrame: expected a topic and a time in seconds');
    }
    if (this.#open.size >= maxOpen) {
      throw new HearthError('MEDIA_STORE_FULL', `withFrame: expected at most ${maxOpen} frames at a time`);
    }
    // Not when it was taken: whoever switches a camera off wants no more of it to be looked at.
    this.#options.checkFrame?.(stream, { topic, receivedTs: Date.now() / 1000 });
    const { handlerTimeoutMs } = this.#options.options.timing;
    const id = ulid();
    const item: FrameItem = {
      kind: 'frame',
      id,
      stream,
      topic,
      capturedTs,
      sha256: '',
      media: { ref: ulid() },
      width: 0,
      height: 0,
    };
    const late = (): void => {
      const reason = `plugin ${this.#options.plugin()}: a frame of its own took more than ${handlerTimeoutMs} ms`;
      this.#end(id, new HearthError('PLUGIN_TIMEOUT', reason));
    };
    this.#open.set(id, { item, timer: setTimeout(late, handlerTimeoutMs).unref() });
    return id;
  }

  /** Rejects with a `MEDIA_` code. */
  async fill(id: string, bytes: Uint8Array): Promise<FrameItem> {
    const { maxFrameBytes, policy } = this.#options.options;
    if (!(bytes instanceof Uint8Array) || bytes.length > maxFrameBytes) {
      const received = bytes instanceof Uint8Array ? `${bytes.length}` : 'none';
      throw new HearthError('MEDIA_TOO_LARGE', `frame: expected at most ${maxFrameBytes} bytes, received ${received}`);
    }
    const { image } = await decodeImage(bytes);
    const open = this.#open.get(id);
    if (open === undefined) throw gone(id);
    const held = policy('frame', open.item.stream);
    this.#options.onPicture?.(open.item.stream, image);
    const { width, height } = image;
    open.item = { ...open.item, sha256: sha256Of(bytes), width, height, settings: held.settings };
    open.end?.();
    open.end = this.#options.tasks.add(itemTask(open.item, { type: 'image', image }, held));
    return open.item;
  }

  /** Rejects with `MEDIA_GONE`. */
  async close(id: string, error?: WireError): Promise<void> {
    if (!this.#open.has(id)) throw gone(id);
    this.#end(id, error === undefined ? undefined : fromPlugin(this.#options.plugin(), error));
  }

  closeAll(reason: HearthError): void {
    for (const id of [...this.#open.keys()]) this.#end(id, reason);
  }

  #end(id: string, error?: HearthError): void {
    const open = this.#open.get(id);
    if (open === undefined) return;
    this.#open.delete(id);
    clearTimeout(open.timer);
    open.end?.();
    if (error === undefined) return;
    const { bus, options, plugin, log } = this.#options;
    const { item } = open;
    log.warn({ stream: item.stream, item: id, reason: `${error.code}: ${error.message}` }, 'a frame ended in an error');
    bus
      .publishEvent(
        errorEvent(error.toJSON(), item, { id, node: options.node, plugin: plugin(), ts: Date.now() / 1000 }),
      )
      .catch((reason: unknown) => log.error({ item: id, reason: messageOf(reason) }, 'an error event did not get out'));
  }
}

function gone(id: string): HearthError {
  return new HearthError(
    'MEDIA_GONE',
    `frame: expected one that is open, received ${JSON.stringify(String(id).slice(0, 40))}`,
  );
}

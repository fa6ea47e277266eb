/** The last picture of a camera as a small JPEG: made when it is asked for, kept in memory for as long as the picture is. */
import sharp from 'sharp';
import type { Config } from '../config';
import { HearthError } from '../errors';
import type { RgbImage } from '../inference/types';

export interface PicturesOptions {
  /** Whether pictures of this stream are shown. */
  readonly allowed: (stream: string) => boolean;
  /** The picture a camera was last looked at by. */
  readonly latest: (stream: string) => RgbImage | undefined;
}

/** The longer side; enough for a card on a phone of high resolution. */
const maxSide = 640;
const quality = 72;

/** Whether the configuration allows pictures of a stream to be shown. */
export function showsPictures({ http, streams, defaults }: Config, name: string): boolean {
  const stream = Object.hasOwn(streams, name) ? streams[name] : undefined;
  return http.pictures && (stream?.kind === 'camera' ? stream.showPicture : defaults.camera.showPicture);
}

export class Pictures {
  readonly #options: PicturesOptions;
  readonly #encoded = new WeakMap<RgbImage, Promise<Buffer>>();

  constructor(options: PicturesOptions) {
    this.#options = options;
  }

  has(stream: string): boolean {
    const { allowed, latest } = this.#options;
    return allowed(stream) && latest(stream) !== undefined;
  }

  /** A JPEG. Rejects with `PICTURE_UNAVAILABLE`. */
  async get(stream: string): Promise<Buffer> {
    const { allowed, latest } = this.#options;
    const image = allowed(stream) ? latest(stream) : undefined;
    if (image === undefined) {
      throw new HearthError(
        'PICTURE_UNAVAILABLE',
        `stream ${JSON.stringify(stream.slice(0, 80))}: expected a camera whose pictures are shown (http.pictures) and that was looked at`,
      );
    }
    const known = this.#encoded.get(image);
    if (known !== undefined) return await known;
    const encoding = encode(image);
    this.#encoded.set(image, encoding);
    return await encoding;
  }
}

async function encode({ data, width, height }: RgbImage): Promise<Buffer> {
  return await sharp(data, { raw: { width, height, channels: 3 } })
    .resize({ width: maxSide, height: maxSide, fit: 'inside', withoutEnlargement: true })
    .jpeg({ quality })
    .toBuffer();
}

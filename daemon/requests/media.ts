/** The picture and the sound of a request. */
import { HearthError } from '../errors';
import type { AudioClip, RgbImage } from '../inference/types';
import { decodeImage } from '../media/image';
import { toModelRate } from '../media/resample';
import { decodeWav } from '../media/wav';
import type { DecodedMedia } from '../streams/media-store';

export interface RequestMedia {
  readonly image?: DecodedMedia;
  readonly audio?: DecodedMedia;
  /** The other members but `id`. */
  readonly payload: Readonly<Record<string, unknown>>;
}

const base64 = /^[A-Za-z0-9+/_\-\r\n]*={0,2}[\r\n]*$/;

function textOf(value: unknown, member: string): string {
  if (typeof value === 'string' && value !== '') return value;
  throw new HearthError(
    'REQUEST_INVALID',
    `${member}: expected base64, received ${value === null ? 'null' : typeof value}`,
  );
}

function bytesOf(text: string, member: string): Buffer {
  const body = text.replace(/^data:[a-z0-9/.+;=-]{0,128};base64,/i, '');
  if (base64.test(body)) return Buffer.from(body, 'base64');
  throw new HearthError('REQUEST_INVALID', `${member}: expected base64, received other characters`);
}

/** Of base64 or a data URL of a JPEG, PNG or WebP. Rejects with `REQUEST_INVALID` or a `MEDIA_` code. */
export async function imageOf(value: unknown, member: string): Promise<RgbImage> {
  return (await decodeImage(Buffer.from(JSON.stringify({ image: textOf(value, member) })))).image;
}

/** Of base64 or a data URL of a WAV. Rejects with `REQUEST_INVALID` or a `MEDIA_` code. */
export async function audioOf(value: unknown, member: string, maxAudioSeconds: number): Promise<AudioClip> {
  return await toModelRate(decodeWav(bytesOf(textOf(value, member), member), maxAudioSeconds * 1000));
}

/** Rejects with `REQUEST_INVALID` or a `MEDIA_` code. */
export async function takeMedia(
  request: Readonly<Record<string, unknown>>,
  maxAudioSeconds: number,
): Promise<RequestMedia> {
  const { id: _id, image, audio, ...payload } = request;
  return {
    payload,
    ...(image !== undefined && {
      image: { type: 'image', image: await imageOf(image, 'image') } as const,
    }),
    ...(audio !== undefined && {
      audio: { type: 'audio', audio: await audioOf(audio, 'audio', maxAudioSeconds) } as const,
    }),
  };
}

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import sharp from 'sharp';
import { toModelRate } from '../../../daemon/media/resample';
import { decodeWav } from '../../../daemon/media/wav';
import { takeMedia } from '../../../daemon/requests/media';

const fixture = (name: string): Buffer => readFileSync(join(process.cwd(), 'test', 'fixtures', 'media', name));
const png = fixture('tree.png');
const wav = fixture('speech-002.wav');

test('a picture as base64 and as a data URL becomes the pixels another decoder sees', async () => {
  const { data, info } = await sharp(png).removeAlpha().raw().toBuffer({ resolveWithObject: true });
  for (const image of [png.toString('base64'), `data:image/png;base64,${png.toString('base64')}`]) {
    const taken = await takeMedia({ image }, 30);
    expect(taken.image).toEqual({
      type: 'image',
      image: { width: info.width, height: info.height, data: expect.anything() },
    });
    expect(taken.image?.type === 'image' && Buffer.from(taken.image.image.data).equals(data)).toBe(true);
    expect(taken).not.toHaveProperty('audio');
  }
});

test('a WAV as base64 and as a data URL becomes samples at the rate of the model', async () => {
  const { samples } = await toModelRate(decodeWav(wav, 30_000));
  for (const audio of [
    wav.toString('base64'),
    wav.toString('base64url'),
    `data:audio/wav;base64,${wav.toString('base64')}`,
  ]) {
    const taken = await takeMedia({ audio }, 30);
    expect(taken.audio?.type === 'audio' && taken.audio.audio.samples).toEqual(samples);
  }
});

test('id and media are taken out of the payload, the rest is left as it is', async () => {
  const taken = await takeMedia({ id: 'x', image: png.toString('base64'), text: 'a', nested: { image: 1 } }, 30);
  expect(taken.payload).toEqual({ text: 'a', nested: { image: 1 } });
  expect(await takeMedia({}, 30)).toEqual({ payload: {} });
});

test.each([
  [{ image: null }, 'REQUEST_INVALID'],
  [{ image: '' }, 'REQUEST_INVALID'],
  [{ image: { data: [] } }, 'REQUEST_INVALID'],
  [{ image: 'not base64!' }, 'MEDIA_BAD_ENVELOPE'],
  [{ image: Buffer.from('not a picture').toString('base64') }, 'MEDIA_NOT_AN_IMAGE'],
  [{ image: wav.toString('base64') }, 'MEDIA_NOT_AN_IMAGE'],
  [{ image: png.subarray(0, 60).toString('base64') }, 'MEDIA_BROKEN_IMAGE'],
  [{ audio: 5 }, 'REQUEST_INVALID'],
  [{ audio: 'not base64!' }, 'REQUEST_INVALID'],
  [{ audio: png.toString('base64') }, 'MEDIA_NOT_A_WAV'],
  [{ audio: wav.subarray(0, 20).toString('base64') }, 'MEDIA_BROKEN_WAV'],
])('%p is refused with %s', async (request, code) => {
  await expect(takeMedia(request, 30)).rejects.toMatchObject({ code });
});

test('a clip that is longer than is taken is refused', async () => {
  await expect(takeMedia({ audio: wav.toString('base64') }, 1)).rejects.toMatchObject({ code: 'MEDIA_AUDIO_TOO_LONG' });
});

import sharp from 'sharp';
import { Pictures } from '../../../daemon/web/pictures';

const image = { width: 1280, height: 960, data: new Uint8Array(3 * 1280 * 960).fill(200) };

test('the last picture is a JPEG of 640 pixels at most, encoded once', async () => {
  const pictures = new Pictures({ allowed: () => true, latest: () => image });
  const jpeg = await pictures.get('front_door');
  expect(await sharp(jpeg).metadata()).toMatchObject({ format: 'jpeg', width: 640, height: 480 });
  expect(await pictures.get('front_door')).toBe(jpeg);
});

test('without leave, or before a picture was looked at, there is none', async () => {
  const forbidden = new Pictures({ allowed: () => false, latest: () => image });
  const unseen = new Pictures({ allowed: () => true, latest: () => undefined });
  for (const pictures of [forbidden, unseen]) {
    expect(pictures.has('front_door')).toBe(false);
    await expect(pictures.get('front_door')).rejects.toMatchObject({ code: 'PICTURE_UNAVAILABLE' });
  }
});

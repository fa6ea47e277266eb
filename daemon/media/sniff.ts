/** What a payload is, told by its first bytes alone. Topics and content types are the sender's word; bytes are not. */
export type MediaKind = 'jpeg' | 'png' | 'webp' | 'wav' | 'json' | 'data-url';

const ascii = (bytes: Uint8Array, at: number, text: string): boolean => {
  if (bytes.length < at + text.length) return false;
  for (let i = 0; i < text.length; i++) if (bytes[at + i] !== text.charCodeAt(i)) return false;
  return true;
};

/** Returns undefined for anything not listed; never throws. Looks at no more than the first 64 bytes. */
export function sniff(bytes: Uint8Array): MediaKind | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xd8 && bytes[2] === 0xff) return 'jpeg';
  if (bytes[0] === 0x89 && ascii(bytes, 1, 'PNG\r\n\x1a\n')) return 'png';
  if (ascii(bytes, 0, 'RIFF') && ascii(bytes, 8, 'WEBP')) return 'webp';
  if (ascii(bytes, 0, 'RIFF') && ascii(bytes, 8, 'WAVE')) return 'wav';
  if (ascii(bytes, 0, 'data:')) return 'data-url';
  let at = ascii(bytes, 0, '\xef\xbb\xbf') ? 3 : 0;
  while (at < 64 && (bytes[at] === 0x20 || bytes[at] === 0x09 || bytes[at] === 0x0a || bytes[at] === 0x0d)) at++;
  return bytes[at] === 0x7b ? 'json' : undefined;
}

/** The first bytes in hex, for an error message. */
export function firstBytes(bytes: Uint8Array): string {
  if (bytes.length === 0) return 'nothing';
  const hex = Array.from(bytes.subarray(0, 8), (byte) => byte.toString(16).padStart(2, '0')).join(' ');
  return `${bytes.length} bytes starting ${hex}`;
}

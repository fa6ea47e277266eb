/**
 * One GET of a file of the catalogue. Redirects are followed here and not by `fetch`: they may not lead to another
 * protocol that is less safe, take the token to another origin, or lead from a public host into the network at home.
 */
import { lookup as dnsLookup } from 'node:dns/promises';
import { BlockList, isIP } from 'node:net';
import { HearthError } from '../errors';
import { messageOf } from '../log';

export type Lookup = (hostname: string) => Promise<readonly { readonly address: string }[]>;

export interface FetchOptions {
  readonly headers: Readonly<Record<string, string>>;
  /** Sent to the origin of `url` alone. */
  readonly token?: string | undefined;
  readonly signal: AbortSignal;
  readonly lookup?: Lookup;
}

const maxRedirects = 5;
const redirects: readonly number[] = [301, 302, 303, 307, 308];

/** Addresses no public server has: RFC 6890 and what IPv6 makes of it. */
const reserved = new BlockList();
for (const [net, prefix] of [
  ['0.0.0.0', 8],
  ['10.0.0.0', 8],
  ['100.64.0.0', 10],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['198.18.0.0', 15],
  ['224.0.0.0', 3],
] as const)
  reserved.addSubnet(net, prefix, 'ipv4');
for (const [net, prefix] of [
  ['::', 127],
  ['fc00::', 7],
  ['fe80::', 10],
  ['ff00::', 8],
] as const)
  reserved.addSubnet(net, prefix, 'ipv6');

export function isPublicAddress(address: string): boolean {
  // An IPv4 address in an IPv6 one is found in the list of the former.
  return isIP(address) !== 0 && !reserved.check(address, isIP(address) === 6 ? 'ipv6' : 'ipv4');
}

async function isPublicHost(hostname: string, lookup: Lookup): Promise<boolean> {
  const name = hostname.replace(/^\[|\]$/g, '');
  if (isIP(name) !== 0) return isPublicAddress(name);
  try {
    const found = await lookup(name);
    return found.length > 0 && found.every(({ address }) => isPublicAddress(address));
  } catch {
    // Whoever asks for it next finds out why.
    return true;
  }
}

function refused(at: URL, why: string): HearthError {
  return new HearthError('MODEL_PULL_REFUSED', `${at.origin}: ${why}`);
}

/** Where a redirect leads. Throws `MODEL_PULL_REFUSED`. */
function targetOf(at: URL, location: string | null): URL {
  if (location === null || !URL.canParse(location, at.href)) throw refused(at, 'expected a redirect to say where to');
  const target = new URL(location, at);
  const { protocol, username, password } = target;
  const safe = protocol === 'https:' || (protocol === 'http:' && at.protocol === 'http:');
  if (!safe) throw refused(at, `expected a redirect to stay with https, received one to ${protocol}`);
  if (username !== '' || password !== '') throw refused(at, 'expected a redirect without user and password');
  return target;
}

/**
 * The response behind all redirects, whatever its status. Rejects with `MODEL_PULL_REFUSED` for a redirect that is not
 * followed, `WEB_REQUEST_FAILED` where there is no answer, and as `signal` says.
 */
export async function fetchSource(url: string, options: FetchOptions): Promise<Response> {
  const { headers, token, signal, lookup = async (name) => await dnsLookup(name, { all: true }) } = options;
  const first = new URL(url);
  let at = first;
  let startsPublic: boolean | undefined;
  for (let hops = 0; hops <= maxRedirects; hops++) {
    const response = await getOnce(at, headers, at.origin === first.origin ? token : undefined, signal);
    if (!redirects.includes(response.status)) return response;
    await response.body?.cancel();
    const target = targetOf(at, response.headers.get('location'));
    startsPublic ??= await isPublicHost(first.hostname, lookup);
    if (startsPublic && !(await isPublicHost(target.hostname, lookup)))
      throw refused(at, `expected a redirect to a public host, received one to ${target.hostname}`);
    at = target;
  }
  throw refused(first, `expected at most ${maxRedirects} redirects`);
}

async function getOnce(
  url: URL,
  headers: FetchOptions['headers'],
  token: string | undefined,
  signal: AbortSignal,
): Promise<Response> {
  try {
    return await fetch(url, {
      redirect: 'manual',
      signal,
      headers: {
        // What is counted and hashed are the bytes of the file.
        'accept-encoding': 'identity',
        ...headers,
        ...(token !== undefined && { authorization: `Bearer ${token}` }),
      },
    });
  } catch (error) {
    signal.throwIfAborted();
    const { cause } = error as { cause?: unknown };
    throw new HearthError('WEB_REQUEST_FAILED', `${url.origin}: ${messageOf(cause ?? error)}`, { cause: error });
  }
}

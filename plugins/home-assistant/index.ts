/** The daemon as a device of Home Assistant, and calls of functions as its actions. */
import { definePlugin, PluginError } from '../../daemon/plugins/api';
import { deviceDiscovery } from './discovery';
import { Facts } from './facts';
import { callOf, isAllowed, serviceTopic, toService } from './services';

interface Config {
  readonly discoveryPrefix: string;
  readonly deviceName: string | null;
  readonly images: boolean;
  readonly imageType: 'image/jpeg' | 'image/png' | 'image/webp';
  readonly services: readonly string[] | null;
  readonly serviceTopic: string | null;
}

/** A burst of retained messages is one change. */
const settleMs = 250;
/** Calls that are remembered, so that none is passed on twice. */
const maxSeen = 256;

function parse(topic: string, payload: Uint8Array): unknown {
  try {
    return JSON.parse(Buffer.from(payload).toString());
  } catch {
    throw new PluginError('MESSAGE_INVALID', `${topic}: expected JSON`);
  }
}

export default definePlugin<Config>({
  manifest: {
    name: 'home-assistant',
    version: '1.0.0',
    apiVersion: '^1.1.0',
    description: 'Makes the daemon a device of Home Assistant.',
    topics: {
      publish: [
        '{config.discoveryPrefix}/device/{node}/config',
        '{base}/{node}/plugin/home-assistant/update',
        '{base}/{node}/service/+/+',
        '{config.serviceTopic}',
      ],
      subscribe: [
        '{config.discoveryPrefix}/status',
        '{base}/+/info',
        '{base}/{node}/out/+/+/last',
        '{base}/{node}/out/+/call',
      ],
    },
    configSchema: {
      type: 'object',
      additionalProperties: false,
      properties: {
        discoveryPrefix: {
          type: 'string',
          pattern: '^[A-Za-z0-9_-]{1,64}(/[A-Za-z0-9_-]{1,64}){0,7}$',
          default: 'homeassistant',
          description: "Discovery prefix of Home Assistant's MQTT integration.",
        },
        deviceName: {
          type: ['string', 'null'],
          minLength: 1,
          maxLength: 128,
          default: null,
          description: 'Name of the device; `hearth <node>` when null.',
        },
        images: {
          type: 'boolean',
          default: false,
          description: 'An image entity for each camera, which shows the pictures on its topic.',
        },
        imageType: {
          enum: ['image/jpeg', 'image/png', 'image/webp'],
          default: 'image/jpeg',
          description: 'What the cameras send.',
        },
        services: {
          type: ['array', 'null'],
          maxItems: 256,
          items: { type: 'string', pattern: '^[a-z][a-z0-9_]*\\.([a-z][a-z0-9_]*|\\*)$' },
          default: null,
          description:
            'Only these actions are passed on: `light.turn_on`, `light.*`; when null, all functions of such names.',
        },
        serviceTopic: {
          type: ['string', 'null'],
          pattern: '^[^+#\\u0000]{1,512}$',
          default: null,
          description:
            'Topic of an action, with `{domain}` and `{service}`; `hearth/<node>/service/{domain}/{service}` when null.',
        },
      },
    },
  },

  async start(ctx) {
    const { config, node, baseTopic: base } = ctx;
    const own = `${base}/${node}`;
    const facts = new Facts(base, node);
    const updateTopic = `${own}/plugin/home-assistant/update`;
    const discoveryTopic = `${config.discoveryPrefix}/device/${node}/config`;
    const sent = new Map<string, string>();

    /** Retained; the same again only where it is asked for. */
    const send = async (topic: string, value: unknown, again: boolean): Promise<void> => {
      const payload = JSON.stringify(value);
      if (!again && sent.get(topic) === payload) return;
      sent.set(topic, payload);
      await ctx.publish(topic, payload, { qos: 1, retain: true });
    };

    const announce = async (again: boolean): Promise<void> => {
      const { info } = facts;
      if (info === undefined) return;
      const { version, model, sources } = info;
      const { images, imageType } = config;
      const name = config.deviceName ?? `hearth ${node}`;
      const streams = facts.streams();
      const described = { base, node, name, version, model, streams, images, imageType, updateTopic };
      const discovery = deviceDiscovery({ ...described, hasSources: sources.length > 0 });
      await send(discoveryTopic, discovery, again);
      const update = {
        installed_version: version,
        latest_version: facts.newest ?? version,
        title: 'hearth',
        in_progress: false,
      };
      await send(updateTopic, update, again);
    };

    let timer: NodeJS.Timeout | undefined;
    const soon = (): void => {
      timer ??= setTimeout(() => {
        timer = undefined;
        announce(false).catch((error: unknown) =>
          ctx.log.warn('the device was not announced', { reason: String(error) }),
        );
      }, settleMs);
    };
    ctx.signal.addEventListener('abort', () => clearTimeout(timer));

    const passed = new Set<string>();
    const pass = async (event: unknown): Promise<void> => {
      const called = callOf(event);
      const message = called === undefined ? undefined : toService(called);
      if (called === undefined || message === undefined || passed.has(called.id)) return;
      const { domain, service, payload } = message;
      if (!isAllowed(message, config.services)) {
        ctx.log.warn(`${domain}.${service} is not passed on: it is not among the services`, { id: called.id });
        return;
      }
      passed.add(called.id);
      const [oldest] = passed;
      if (passed.size > maxSeen && oldest !== undefined) passed.delete(oldest);
      const topic = serviceTopic(config.serviceTopic ?? `${own}/service/{domain}/{service}`, message);
      await ctx.publish(topic, JSON.stringify(payload), { qos: 1 });
      ctx.log.info(`${domain}.${service} passed on`, { topic, id: called.id });
    };

    await ctx.subscribe(`${config.discoveryPrefix}/status`, async (_topic, payload) => {
      // Home Assistant's birth: it has forgotten what a broker without retained messages did not keep for it.
      if (Buffer.from(payload).toString() === 'online') await announce(true);
    });
    await ctx.subscribe(`${base}/+/info`, (topic, payload) => {
      facts.takeInfo(topic.slice(base.length + 1).split('/')[0] ?? '', parse(topic, payload));
      soon();
    });
    await ctx.subscribe(`${own}/out/+/+/last`, (topic, payload) => {
      if (facts.takeEvent(parse(topic, payload))) soon();
    });
    await ctx.subscribe(`${own}/out/+/call`, async (topic, payload) => await pass(parse(topic, payload)));
  },
});

/**
 * The one message by which Home Assistant learns of a device and all its entities (device discovery, 2024.12 and later),
 * in the abbreviations of its MQTT integration. Everything in it points at topics the daemon has anyway.
 */

export interface StreamFacts {
  readonly name: string;
  readonly kind: 'camera' | 'microphone';
  /** Topic or filter of the pictures a camera is looked at by; undefined where there are none to show. */
  readonly imageTopic?: string;
}

export interface DeviceFacts {
  readonly base: string;
  readonly node: string;
  readonly name: string;
  readonly version: string;
  /** The model that is loaded. */
  readonly model: string;
  readonly streams: readonly StreamFacts[];
  readonly images: boolean;
  readonly imageType: string;
  /** What the update entity reads. */
  readonly updateTopic: string;
  /** There are models to download. */
  readonly hasSources: boolean;
}

/** One entity. With nothing but its platform, one that was there before is removed. */
export interface Component extends Readonly<Record<string, unknown>> {
  readonly p: 'sensor' | 'event' | 'image' | 'switch' | 'notify' | 'update';
}

export interface Discovery {
  readonly dev: Readonly<Record<string, unknown>>;
  readonly o: Readonly<Record<string, unknown>>;
  readonly avty: readonly Readonly<Record<string, unknown>>[];
  readonly qos: 1;
  readonly cmps: Readonly<Record<string, Component>>;
}

const eventTypes = {
  camera: ['caption', 'call', 'answer', 'error'],
  microphone: ['transcript', 'translation', 'call', 'answer', 'error'],
} as const;

const readable = (name: string): string => name.replace(/[_-]+/g, ' ').trim();
const entityPart = (name: string): string => name.replace(/-/g, '_');

function streamComponents(facts: DeviceFacts, stream: StreamFacts): [string, Component][] {
  const { base, node, images, imageType } = facts;
  const { name, kind, imageTopic } = stream;
  const own = `${base}/${node}`;
  const out = `${own}/out/${name}`;
  const entity = (what: string, platform: Component['p'], title: string): Component => ({
    p: platform,
    uniq_id: `hearth_${node}_${name}_${what}`,
    def_ent_id: `${platform}.hearth_${entityPart(node)}_${entityPart(name)}_${what}`,
    name: `${readable(name)} ${title}`,
  });
  const latest = (event: string, icon: string): Component => ({
    ...entity(event, 'sensor', event),
    // A state holds 255 characters; the whole text is an attribute.
    stat_t: `${out}/${event}/last`,
    val_tpl: "{{ value_json.summary | default('', true) }}",
    json_attr_t: `${out}/${event}/last`,
    ic: icon,
  });
  const said = kind === 'camera' ? latest('caption', 'mdi:image-text') : latest('transcript', 'mdi:text-to-speech');
  const types = eventTypes[kind];
  const event: Component = {
    ...entity('events', 'event', 'events'),
    stat_t: `${out}/events`,
    evt_typ: types,
    // An event of a type that is not listed would be a warning in Home Assistant's log, and skipped frames are many.
    val_tpl: `{% if value_json.event_type in ${JSON.stringify(types)} %}{{ value }}{% else %}{}{% endif %}`,
    ic: kind === 'camera' ? 'mdi:eye' : 'mdi:ear-hearing',
  };
  const image: Component =
    images && imageTopic !== undefined
      ? { ...entity('image', 'image', 'picture'), img_t: imageTopic, cont_type: imageType }
      : { p: 'image' };
  const power: Component = {
    ...entity('enabled', 'switch', kind === 'camera' ? 'watching' : 'listening'),
    cmd_t: `${own}/request/stream/set`,
    pl_on: JSON.stringify({ stream: name, enabled: true }),
    pl_off: JSON.stringify({ stream: name, enabled: false }),
    stat_t: `${own}/health`,
    val_tpl: `{{ 'ON' if value_json.streams.get('${name}', {}).get('enabled', True) else 'OFF' }}`,
    stat_on: 'ON',
    stat_off: 'OFF',
    ic: kind === 'camera' ? 'mdi:cctv' : 'mdi:microphone',
  };
  const ask: Component = {
    ...entity('ask', 'notify', 'question'),
    cmd_t: `${own}/request/generate`,
    // What a camera is asked is about its latest picture.
    cmd_tpl: `{"prompt": {{ value | tojson }}, "stream": "${name}", "temperature": 0${kind === 'camera' ? ', "look": true' : ''}}`,
    ic: 'mdi:comment-question',
  };
  const components: [string, Component][] = [
    [kind === 'camera' ? 'caption' : 'transcript', said],
    ['answer', latest('answer', 'mdi:comment-check')],
    ['events', event],
    ...(kind === 'camera' ? ([['image', image]] as [string, Component][]) : []),
    ['enabled', power],
    ['ask', ask],
  ];
  return components.map(([what, component]) => [`${name}_${what}`, component]);
}

/** The model: its version, how far a download is, and a button that downloads and loads the newest. */
function modelUpdate({ base, node, hasSources }: DeviceFacts): Component {
  if (!hasSources) return { p: 'update' };
  const own = `${base}/${node}`;
  return {
    p: 'update',
    uniq_id: `hearth_${node}_model_update`,
    def_ent_id: `update.hearth_${entityPart(node)}_model`,
    name: 'model',
    stat_t: `${own}/model/update`,
    cmd_t: `${own}/request/model/pull`,
    // Without a name: the model the topic above speaks of.
    pl_inst: JSON.stringify({ load: true }),
    ent_cat: 'config',
  };
}

export function deviceDiscovery(facts: DeviceFacts): Discovery {
  const { base, node, name, version, model, streams, updateTopic } = facts;
  const update: Component = {
    p: 'update',
    uniq_id: `hearth_${node}_update`,
    def_ent_id: `update.hearth_${entityPart(node)}`,
    name: 'version',
    stat_t: updateTopic,
    ent_cat: 'diagnostic',
  };
  return {
    dev: { ids: [`hearth_${node}`], name, mf: 'hearth', mdl: model, sw: version },
    o: { name: 'hearth', sw: version },
    avty: [{ t: `${base}/${node}/state`, val_tpl: '{{ value_json.state }}' }],
    qos: 1,
    cmps: {
      // No stream is called so: its components have another word behind.
      update,
      model_update: modelUpdate(facts),
      ...Object.fromEntries(streams.flatMap((stream) => streamComponents(facts, stream))),
    },
  };
}

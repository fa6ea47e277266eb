/** The eight rooms and six functions of the demo. */
const room = { enum: ['kitchen', 'bedroom', 'living_room', 'bathroom', 'garage', 'garden', 'office', 'hallway'] };
const on = { type: 'boolean' };

function demoFunction(name: string, properties: Readonly<Record<string, unknown>>, topic?: string) {
  return {
    name,
    description: `${name} of the demo`,
    parameters: { type: 'object', properties, required: Object.keys(properties), additionalProperties: false },
    ...(topic !== undefined && { publish: { topic } }),
  };
}

export const demoFunctions = [
  demoFunction('set_light', { room, on }, 'home/{arguments.room}/light/set'),
  demoFunction(
    'set_temperature',
    { room, celsius: { type: 'integer', minimum: 15, maximum: 25 } },
    'home/{arguments.room}/heating/set',
  ),
  demoFunction(
    'set_lock',
    { door: { enum: ['front', 'back', 'garage'] }, locked: on },
    'home/lock/{arguments.door}/set',
  ),
  demoFunction('set_blinds', { room, open: on }, 'home/{arguments.room}/blinds/set'),
  demoFunction('play_music', { room, on }, 'home/{arguments.room}/music/set'),
  demoFunction('get_temperature', { room }),
];

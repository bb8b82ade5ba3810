// The contents of this peer's advert.
import { cpus, totalmem } from 'node:os'
import type { AdvertBody } from '../../dht/advert/advert.ts'
import type { Device } from '../../inference/device/device-choice.ts'
import { VERSION } from '../home/version.ts'

const NAME_CHARACTERS_MAX = 128

/** The advert of a peer that works for others; `body` holds its contexts and load. */
export function servingAdvert(
  body: Pick<AdvertBody, 'contexts' | 'slots' | 'replicas' | 'fetchBytesPerSecond'>,
  { accepts, reason }: { accepts: boolean; reason: string },
  device: Device,
): AdvertBody {
  return {
    agent: `hearth/${VERSION}`,
    ...body,
    device: deviceOf(device),
    serving: accepts ? { accepts } : { accepts, reason },
  }
}

/** The advert of a peer that only submits. */
export function submitterAdvert(): AdvertBody {
  return {
    agent: `hearth/${VERSION}`,
    contexts: [],
    device: deviceOf({ kind: 'cpu', name: cpus()[0]?.model ?? 'CPU', memoryBytes: totalmem() }),
    slots: 0,
    serving: { accepts: false, reason: 'submit-only' },
  }
}

function deviceOf({ kind, name, memoryBytes }: Omit<Device, 'provider'>): AdvertBody['device'] {
  return { kind, name: name.slice(0, NAME_CHARACTERS_MAX), threads: cpus().length, memoryBytes }
}

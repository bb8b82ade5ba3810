import { isHearthError } from '../../base/errors.ts'
import { ContextStore } from '../../context-sharing/store/context-store.ts'
import { modelTrial } from '../../node/contexts/model-trial.ts'
import type { ControlAccess } from '../../node/home/data-folder.ts'
import type { CommandContext } from './command-context.ts'

/** Asks the peer that runs on the data folder; without one, works on the store directly, under its lock. */
export async function inPeerOrStore<T>(
  { data, clock, log }: CommandContext,
  ask: (access: ControlAccess) => Promise<T>,
  work: (store: ContextStore) => Promise<T>,
): Promise<T> {
  const access = data.control()
  if (access !== undefined) {
    try {
      return await ask(access)
    } catch (error) {
      if (!isHearthError(error, 'peer-unreachable')) throw error
    }
  }
  const unlock = data.lock()
  const models = modelTrial({ clock, log })
  const store = new ContextStore({ clock, log, models }, { folder: data.contextsPath })
  try {
    await store.open()
    return await work(store)
  } finally {
    await store.close()
    unlock()
  }
}

import { Command } from 'commander'
import { vi } from 'vitest'

/**
 * The program that a main module declares, which parses as it would for a user and then does nothing.
 * Faults are thrown as a CommanderError.
 */
export async function programOf(module: string): Promise<Command> {
  const programs: Command[] = []
  const spy = vi.spyOn(Command.prototype, 'parseAsync').mockImplementation(function (this: Command) {
    programs.push(this)
    return Promise.resolve(this)
  })
  await import(module)
  spy.mockRestore()
  const [program] = programs
  if (program === undefined) throw new Error(`${module} parses no command line`)
  makeIdle(program)
  return program
}

function makeIdle(command: Command): void {
  command.exitOverride()
  command.configureOutput({ writeOut: () => {}, writeErr: () => {} })
  if (command.commands.length === 0) command.action(() => {})
  command.commands.forEach(makeIdle)
}

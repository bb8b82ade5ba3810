// Refuses a model folder whose chat template could not be rendered, before it becomes a context.
import { HearthError, messageOf } from '../../base/errors.ts'
import { readChatTemplate } from '../contract/model-folder.ts'
import { Template } from './jinja/template.ts'

/** Throws `context-invalid` that names the part of the template that is not supported. */
export async function checkChatTemplate(folder: string): Promise<void> {
  const source = await readChatTemplate(folder)
  if (source === undefined) return
  try {
    void new Template(source, () => 0)
  } catch (cause) {
    const message = `cannot render the chat template: ${messageOf(cause)}. Change it in chat_template.jinja or tokenizer_config.json, then add the folder again`
    throw new HearthError('context-invalid', message, { data: { folder }, cause })
  }
}

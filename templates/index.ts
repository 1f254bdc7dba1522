/** The template engine: Handlebars with `<< >>` beside `{{ }}`, and the sendmail block. */
export {
  type CompiledTemplate,
  type CompileOptions,
  type ContentType,
  checkTemplate,
  compileTemplate,
  type PartialSource,
  type RenderOptions,
} from './compile.ts'
export { type Place, TEMPLATE_ERROR_CODES, TemplateError, type TemplateErrorCode } from './errors.ts'
export { renderFile } from './file.ts'
export { type MailHost, type SendOptions, Server, type Smarthost } from './mail-host.ts'
export { SafeText } from './output.ts'
export type { MailMessage } from './sendmail.ts'

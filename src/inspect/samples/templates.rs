//! Chat templates in the constructs of the best-known families of models: written for the tests, each with what makes its family hard to judge.

/// By what their families are known for.
pub const TEMPLATES: [(&str, &str); 16] = [
    (
        "chatml",
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}",
    ),
    (
        "brackets and alternation",
        "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif %}{% if message['role'] == 'user' %}{{ '[INST] ' ~ message['content'] ~ ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + message['content'].strip() + eos_token }}{% else %}{{ raise_exception('Unknown role ' + message['role']) }}{% endif %}{% endfor %}",
    ),
    (
        "headers and tools",
        "{{- bos_token }}{%- if custom_tools is defined %}{%- set tools = custom_tools %}{%- endif %}{%- if not tools_in_user_message is defined %}{%- set tools_in_user_message = true %}{%- endif %}{%- if not date_string is defined %}{%- if strftime_now is defined %}{%- set date_string = strftime_now(\"%d %b %Y\") %}{%- else %}{%- set date_string = \"26 Jul 2024\" %}{%- endif %}{%- endif %}{%- if messages[0]['role'] == 'system' %}{%- set system_message = messages[0]['content']|trim %}{%- set messages = messages[1:] %}{%- else %}{%- set system_message = \"\" %}{%- endif %}{%- if tools is not none and not tools_in_user_message %}{%- for t in tools %}{{- t | tojson(indent=4) }}{{- \"\\n\\n\" }}{%- endfor %}{%- endif %}{%- for message in messages %}{%- if not (message.role == 'ipython' or message.role == 'tool' or 'tool_calls' in message) %}{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'+ message['content'] | trim + '<|eot_id|>' }}{%- elif 'tool_calls' in message %}{%- if not message.tool_calls|length == 1 %}{{- raise_exception(\"One tool call at once\") }}{%- endif %}{%- set tool_call = message.tool_calls[0].function %}{%- if builtin_tools is defined and tool_call.name in builtin_tools %}{{- \"<|python_tag|>\" + tool_call.name + \".call(\" }}{%- for arg_name, arg_val in tool_call.arguments | items %}{{- arg_name + '=\"' + arg_val + '\"' }}{%- if not loop.last %}{{- \", \" }}{%- endif %}{%- endfor %}{{- \")\" }}{%- endif %}{%- endif %}{%- endfor %}",
    ),
    (
        "thinking",
        "{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1) %}{%- for message in messages[::-1] %}{%- set index = (messages|length - 1) - loop.index0 %}{%- if ns.multi_step_tool and message.role == \"user\" and message.content is string and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}{%- set ns.multi_step_tool = false %}{%- set ns.last_query_index = index %}{%- endif %}{%- endfor %}{%- for message in messages %}{%- set content = message.content if message.content is string else '' %}{%- set reasoning_content = '' %}{%- if message.reasoning_content is string %}{%- set reasoning_content = message.reasoning_content %}{%- elif '</think>' in content %}{%- set reasoning_content = content.split('</think>')[0].rstrip('\\n').split('<think>')[-1].lstrip('\\n') %}{%- set content = content.split('</think>')[-1].lstrip('\\n') %}{%- endif %}{%- if loop.index0 > ns.last_query_index and (loop.last or (not loop.last and reasoning_content)) %}{{- '<think>\\n' + reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content.lstrip('\\n') }}{%- endif %}{%- endfor %}{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}{%- endif %}",
    ),
    (
        "turns of two",
        "{{ bos_token }}{%- if messages[0]['role'] == 'system' -%}{%- if messages[0]['content'] is string -%}{%- set first_user_prefix = messages[0]['content'] + '\n\n' -%}{%- else -%}{%- set first_user_prefix = messages[0]['content'][0]['text'] + '\n\n' -%}{%- endif -%}{%- set loop_messages = messages[1:] -%}{%- else -%}{%- set loop_messages = messages -%}{%- endif -%}{%- for message in loop_messages -%}{%- if (message['role'] == 'assistant') -%}{%- set role = \"model\" -%}{%- else -%}{%- set role = message['role'] -%}{%- endif -%}{{ '<start_of_turn>' + role + '\n' + (first_user_prefix if loop.first else \"\") }}{%- if message['content'] is iterable and message['content'] is not string -%}{%- for item in message['content'] -%}{%- if item['type'] == 'image' -%}{{ '<start_of_image>' }}{%- elif item['type'] == 'text' -%}{{ item['text'] | trim }}{%- endif -%}{%- endfor -%}{%- endif -%}{%- endfor -%}",
    ),
    (
        "types as macros",
        "{%- macro render_type(spec, required, is_nullable=false) -%}{%- if spec.type == \"array\" -%}{%- if spec['items'] -%}{{- render_type(spec['items'], required) + \"[]\" }}{%- else -%}{{- \"any[]\" }}{%- endif -%}{%- elif spec.type is iterable and spec.type is not string and spec.type is not mapping and spec.type[0] is defined -%}{{- spec.type | join(\" | \") }}{%- elif spec.enum -%}{{- '\"' + spec.enum|join('\" | \"') + '\"' -}}{%- elif spec.oneOf -%}{%- for variant in spec.oneOf -%}{{- render_type(variant, required) -}}{%- if variant.description %}{{- \"// \" + variant.description }}{%- endif -%}{%- if variant.default is defined %}{{ \"// default: \" + variant.default|tojson }}{%- endif -%}{%- endfor -%}{%- else -%}{%- for name, value in spec.properties.items() -%}{{- name }}{%- if name not in (spec.required or []) -%}{{- \"?\" }}{%- endif -%}: {{ render_type(value, spec.required or []) }}{%- endfor -%}{%- endif -%}{%- endmacro -%}{%- macro system() -%}{{- \"Current date: \" + strftime_now(\"%Y-%m-%d\") + \"\\n\" }}{%- endmacro -%}{{- system() }}{{- render_type(tools[0].function.parameters, []) }}",
    ),
    (
        "tools by name and id",
        "{%- set user_messages = messages | selectattr(\"role\", \"equalto\", \"user\") | list %}{{- bos_token }}{%- for message in messages %}{%- if message[\"role\"] == \"user\" %}{%- if tools is not none and (message == user_messages[-1]) %}{{- \"[AVAILABLE_TOOLS] [\" }}{%- for tool in tools %}{%- set tool = tool.function %}{{- '{\"type\": \"function\", \"function\": {' }}{%- for key, val in tool.items() if key != \"return\" %}{%- if val is string %}{{- '\"' + key + '\": \"' + val + '\"' }}{%- else %}{{- '\"' + key + '\": ' + val|tojson }}{%- endif %}{%- if not loop.last %}{{- \", \" }}{%- endif %}{%- endfor %}{{- \"}}\" }}{%- endfor %}{%- endif %}{%- elif message.tool_calls is defined and message.tool_calls is not none %}{%- for tool_call in message.tool_calls %}{%- set out = tool_call.function|tojson %}{{- out[:-1] }}{%- if not tool_call.id is defined or tool_call.id|length != 9 %}{{- raise_exception(\"Ids have nine letters\") }}{%- endif %}{{- ', \"id\": \"' + tool_call.id + '\"}' }}{%- endfor %}{%- endif %}{%- endfor %}",
    ),
    (
        "flags in a namespace",
        "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}{% set ns = namespace(is_first=false, is_tool=false, is_output_first=true, system_prompt='') %}{%- for message in messages %}{%- if message['role'] == 'system' %}{% set ns.system_prompt = message['content'] %}{%- endif %}{%- endfor %}{{bos_token}}{{ns.system_prompt}}{%- for message in messages %}{%- if message['role'] == 'assistant' and message['content'] is none %}{%- set ns.is_tool = true -%}{%- for tool in message['tool_calls']%}{%- if not ns.is_first %}{{'<|tool|>' + tool['type'] + '<|sep|>' + tool['function']['name'] + '\\n' + '```json' + '\\n' + tool['function']['arguments'] + '\\n' + '```'}}{%- set ns.is_first = true -%}{%- endif %}{%- endfor %}{%- endif %}{%- endfor -%}",
    ),
    (
        "visible text",
        "{%- macro visible_text(content) -%}{%- if content is string -%}{{- content }}{%- elif content is iterable and content is not mapping -%}{%- for item in content -%}{%- if item is mapping and item.type == 'text' -%}{{- item.text }}{%- elif item is string -%}{{- item }}{%- endif -%}{%- endfor -%}{%- else -%}{{- content }}{%- endif -%}{%- endmacro -%}{%- for m in messages %}{%- if m.role == 'user' -%}{{ visible_text(m.content) }}{{- '/nothink' if (enable_thinking is defined and not enable_thinking and not visible_text(m.content).endswith(\"/nothink\")) else '' -}}{%- elif m.tool_calls -%}{% for tc in m.tool_calls %}{%- if tc.function %}{%- set tc = tc.function %}{%- endif %}{% set _args = tc.arguments %}{% for k, v in _args.items() %}<arg_key>{{ k }}</arg_key><arg_value>{{ v | tojson(ensure_ascii=False) if v is not string else v }}</arg_value>{% endfor %}{% endfor %}{%- endif -%}{%- endfor -%}",
    ),
    (
        "documents",
        "{% if documents %}{% for doc in documents %}{{ 'Document: ' ~ loop.index0 }}{% for key, value in doc.items() if key != 'id' %}{{ key | string | title }}: {{ value | string | replace('\\n', ' ') }}{% endfor %}{% endfor %}{% endif %}{% for message in messages | rejectattr('role', 'equalto', 'system') %}{{ message.content | default('', true) | string | trim }}{% endfor %}",
    ),
    (
        "training",
        "{% for message in messages %}{% if message.role == 'assistant' %}{% generation %}{{ message.content }}{{ eos_token }}{% endgeneration %}{% else %}{{ message.content }}{% endif %}{% endfor %}",
    ),
    (
        "calls of a block",
        "{% macro turn(role) %}<{{ role }}>{{ caller() }}</{{ role }}>{% endmacro %}{% for message in messages %}{% call turn(message.role) %}{{ message.content | trim }}{% endcall %}{% endfor %}",
    ),
    (
        "breaks and counts",
        "{%- set ns = namespace(count=0) -%}{%- for message in messages -%}{%- if message.role == 'stop' -%}{%- break -%}{%- elif message.role == 'skip' -%}{%- continue -%}{%- endif -%}{%- set ns.count = ns.count + 1 -%}{{ '%02d' | format(ns.count) }}{%- endfor -%}{%- for index in range(0, messages | length, 2) -%}{{ messages[index].content[:100] }}{%- endfor -%}",
    ),
    (
        "sets of text",
        "{%- set preamble -%}You are of use.{% if tools %} There are tools: {{ tools | map(attribute='function') | map(attribute='name') | join(', ') }}.{% endif %}{%- endset -%}{%- set roles = {'user': 'Human', 'assistant': 'Assistant'} -%}{{ preamble }}{%- for message in messages -%}{{ roles[message.role] if message.role in roles else message.role | upper }}: {{ message.content }}{%- endfor -%}",
    ),
    (
        "lists that grow",
        "{%- set parts = [] -%}{%- for message in messages -%}{%- set _ = parts.append(message.content) -%}{%- endfor -%}{%- set latest = parts | last -%}{{ parts | reverse | unique | list | join('\\n') }}{{ latest | indent(2) }}{{ dict(role='x') | dictsort }}",
    ),
    (
        "plain text and comments",
        "{# Turns stand between marks. #}{%- raw -%}{{ not a value }}{%- endraw -%}{%- with name = 'x' -%}{{ name }}{%- endwith -%}{% for message in messages if message.role != 'system' recursive %}{{ loop.depth0 }}{{ message['content'] | e }}{% else %}nothing{% endfor %}",
    ),
];

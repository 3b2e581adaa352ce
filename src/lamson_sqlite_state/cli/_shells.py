"""Completion in bash, zsh and fish: how a shell asks, and how it puts the answer on the line.

Click's own scripts are replaced because they join the shell's words and split them again. Bash
splits words at ``:`` and ``=``, and replaces only the part behind the last of these. The script for
fish cuts a help text at its first comma. None of Click's scripts quotes a completion. The scripts
here pass the line up to the cursor as the shell has it, and quote each completion.

Click knows three kinds of completions. Two of them come from this command: "plain" ones, and
"file", which asks the shell for its own completion of a path.
"""

import os
from typing import ClassVar, Final

from click.shell_completion import (
    BashComplete,
    CompletionItem,
    FishComplete,
    ShellComplete,
    ZshComplete,
    split_arg_string,
)

# Marks the end of the last word, which may be empty or have an open quote.
_CURSOR: Final = "\0"


class _OfLine(ShellComplete):
    """Reads the line up to the cursor from COMP_WORDS."""

    def get_completion_args(self) -> tuple[list[str], str]:
        words = split_arg_string(os.environ["COMP_WORDS"] + _CURSOR)
        return words[1:-1], words[-1].rstrip(_CURSOR)

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        found = super().get_completions(args, incomplete)
        name, equals, _ = incomplete.partition("=")
        if not (equals and name.startswith("--")):
            return found
        # The shells replace the whole word, of which the option's name is a part.
        return [
            CompletionItem(f"{name}={item.value}", item.type, item.help)
            if item.type == "plain"
            else item
            for item in found
        ]


class Bash(_OfLine, BashComplete):
    """Completion for bash, with or without the bash-completion package."""

    # $2 is the part of the word that bash replaces: `han` of app:han, and nothing of app: (for
    # which bash-completion's sudo passes `:`). Behind an open quote, it is all that follows it.
    source_template: ClassVar[str] = r"""
%(complete_func)s() {
    local kind value quote=${COMP_WORDS[COMP_CWORD]:0:1} part=$2
    [[ $part == ["$COMP_WORDBREAKS"] ]] && part=
    COMPREPLY=()
    while IFS=, read -r kind value; do
        if [[ $kind == file ]]; then
            compopt -o default
        elif [[ $kind == plain ]]; then
            case $quote in
                \') value=${value//\'/\'\\\'\'} ;;
                \") value=${value//\\/\\\\} value=${value//\"/\\\"}
                    value=${value//\$/\\\$} value=${value//\`/\\\`} ;;
                *) printf -v value %%q "$value" ;;
            esac
            COMPREPLY+=("$value")
        fi
    done < <(COMP_WORDS=${COMP_LINE:0:COMP_POINT} COMP_CWORD=$part \
        %(complete_var)s=bash_complete %(prog_name)s)
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        found = super().get_completions(args, incomplete)
        (part,) = split_arg_string(os.environ["COMP_CWORD"]) or [""]
        before = incomplete.removesuffix(part) if incomplete.endswith(part) else ""
        for item in found:
            item.value = item.value.removeprefix(before)
        return found


class Zsh(_OfLine, ZshComplete):
    """Completion for zsh, whose compinit has run."""

    # Each completion comes as three lines. compadd quotes it.
    source_template: ClassVar[str] = r"""
#compdef %(prog_name)s

%(complete_func)s() {
    local -a plain described response
    local kind value help
    response=("${(@f)$(COMP_WORDS="${words[1,CURRENT-1]} $QIPREFIX$PREFIX" \
        %(complete_var)s=zsh_complete %(prog_name)s)}")
    for kind value help in "${response[@]}"; do
        if [[ $kind == file ]]; then
            compset -P '--*='
            _path_files -f
        elif [[ $help == _ ]]; then
            plain+=("$value")
        elif [[ $kind == plain ]]; then
            described+=("$value:$help")
        fi
    done
    (( $#described )) && _describe -V unsorted described -U
    (( $#plain )) && compadd -U -V unsorted -a plain
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""


class Fish(_OfLine, FishComplete):
    """Completion for fish."""

    source_template: ClassVar[str] = r"""
function %(complete_func)s
    set -l option (string match --regex -- '^--[^=]*=' (commandline -ct); or echo)
    for each in (env COMP_WORDS=(commandline -cp | string collect) \
            %(complete_var)s=fish_complete %(prog_name)s)
        set -l item (string split --max 1 , -- $each)
        if test "$item[1]" = file
            string join \n -- $option(__fish_complete_path $item[2])
        else if test "$item[1]" = plain
            string join \n -- $item[2]
        end
    end
end

complete --no-files --command %(prog_name)s --arguments "(%(complete_func)s)"
"""

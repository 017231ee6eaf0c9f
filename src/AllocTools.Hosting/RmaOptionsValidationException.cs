using Microsoft.Extensions.Options;

namespace AllocTools.Hosting;

/// <summary>All that is wrong with the options of the pools of a container, of their providers, and of what stands on them, such as connections.</summary>
/// <remarks>As text it is its message alone: a stack says nothing of a value in a file.</remarks>
public sealed class RmaOptionsValidationException : OptionsValidationException
{
    internal RmaOptionsValidationException(string optionsName, Type optionsType, IEnumerable<string> failures)
        : base(optionsName, optionsType, failures)
    {
    }

    /// <summary>The failure; if there are several, one per line.</summary>
    public override string Message => Failures.Count() == 1
        ? Failures.First()
        : $"{Failures.Count()} options are invalid:{string.Concat(Failures.Select(f => $"{Environment.NewLine}  {f}"))}";

    /// <summary>The type and the message.</summary>
    public override string ToString() => $"{GetType().FullName}: {Message}";
}

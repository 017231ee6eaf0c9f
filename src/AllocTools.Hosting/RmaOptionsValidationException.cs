using Microsoft.Extensions.Options;

namespace AllocTools.Hosting;

/// <summary>All failures in the options of a container's pools, of their providers, and of components that use pools, such as connections.</summary>
/// <remarks>Its text has no stack trace, which would not help with a value in a file.</remarks>
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

using System.ComponentModel.DataAnnotations;

namespace AllocTools.Validation;

/// <summary>The rule of one option. Its failure has the option's path, the value found, and what the value must be.</summary>
internal abstract class OptionAttribute : ValidationAttribute
{
    /// <inheritdoc/>
    public override bool RequiresValidationContext => true;

    /// <summary>The valid values, such as "1 to 8 steps".</summary>
    public abstract string Range { get; }

    /// <summary>The valid values as the end of "it must be …".</summary>
    protected abstract string Rule { get; }

    /// <summary>Formats the value for people.</summary>
    protected virtual string Describe(object value) => value.ToString()!;

    /// <summary>Whether the value, which is not null, is valid.</summary>
    protected abstract bool Holds(object value);

    /// <inheritdoc/>
    protected override ValidationResult? IsValid(object? value, ValidationContext validationContext) =>
        // Null means that the option is not set.
        value is null || Holds(value)
            ? ValidationResult.Success
            : new ValidationResult($"{PathOf(validationContext.DisplayName)} is {Describe(value)}; it must be {Rule}.");

    /// <summary>
    /// Converts the validator's name of a member, <c>Options.List[0].Member</c>, to the configuration's,
    /// <c>List:0:Member</c>.
    /// </summary>
    private static string PathOf(string member) =>
        member[(member.IndexOf('.', StringComparison.Ordinal) + 1)..]
            .Replace("].", ":", StringComparison.Ordinal)
            .Replace('[', ':')
            .Replace('.', ':');
}

using Microsoft.Extensions.Options;

namespace AllocTools.Mpi;

/// <summary>Validates <see cref="MpiOptions"/>, and reports all failures at once.</summary>
public sealed class MpiOptionsValidator : IValidateOptions<MpiOptions>
{
    private static readonly string[] Prefixes = ["OMPI_", "PMIX_", "PRTE_", "MPICH_", "MPIR_", "UCX_", "FI_"];

    /// <inheritdoc/>
    public ValidateOptionsResult Validate(string? name, MpiOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        List<string> failures = [.. new MpiOptionsRanges().Validate(name: null, options).Failures ?? []];
        foreach (string setting in options.Settings.Keys)
        {
            if (setting.Contains('=', StringComparison.Ordinal) || !Prefixes.Any(p => setting.StartsWith(p, StringComparison.Ordinal)))
                failures.Add($"Settings has '{setting}'; the names of MPI's settings must start with {string.Join(", ", Prefixes[..^1])} or {Prefixes[^1]} and must not contain '='.");
        }
        return failures.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
    }

    internal static void ThrowIfInvalid(MpiOptions options)
    {
        ValidateOptionsResult result = new MpiOptionsValidator().Validate(null, options);
        if (result.Failed)
            throw new OptionsValidationException(nameof(MpiOptions), typeof(MpiOptions), result.Failures);
    }
}

/// <summary>Validates the ranges of <see cref="MpiOptions"/> that its attributes declare.</summary>
[OptionsValidator]
internal sealed partial class MpiOptionsRanges : IValidateOptions<MpiOptions>;

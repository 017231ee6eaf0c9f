using Microsoft.Extensions.Options;

namespace AllocTools.Ucx;

/// <summary>Validates <see cref="UcxOptions"/>, and reports all failures at once.</summary>
public sealed class UcxOptionsValidator : IValidateOptions<UcxOptions>
{
    /// <summary>The settings that have separate options.</summary>
    private static readonly Dictionary<string, string> OwnOptions = new(StringComparer.Ordinal)
    {
        ["UCX_TLS"] = nameof(UcxOptions.Transports),
        ["UCX_NET_DEVICES"] = nameof(UcxOptions.Devices),
        ["UCX_KEEPALIVE_INTERVAL"] = nameof(UcxOptions.KeepaliveInterval),
    };

    /// <inheritdoc/>
    public ValidateOptionsResult Validate(string? name, UcxOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        List<string> failures = [.. new UcxOptionsRanges().Validate(name: null, options).Failures ?? []];
        foreach (string setting in options.Settings.Keys)
        {
            if (!setting.StartsWith("UCX_", StringComparison.Ordinal) || setting.Contains('=', StringComparison.Ordinal))
                failures.Add($"Settings has '{setting}'; the names of UCX's settings must start with UCX_ and must not contain '='.");
            else if (OwnOptions.TryGetValue(setting, out string? option))
                failures.Add($"Settings has '{setting}'; it must be set by the option {option} instead.");
        }
        return failures.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
    }

    internal static void ThrowIfInvalid(UcxOptions options)
    {
        ValidateOptionsResult result = new UcxOptionsValidator().Validate(null, options);
        if (result.Failed)
            throw new OptionsValidationException(nameof(UcxOptions), typeof(UcxOptions), result.Failures);
    }
}

/// <summary>Validates the ranges of <see cref="UcxOptions"/> that its attributes declare.</summary>
[OptionsValidator]
internal sealed partial class UcxOptionsRanges : IValidateOptions<UcxOptions>;

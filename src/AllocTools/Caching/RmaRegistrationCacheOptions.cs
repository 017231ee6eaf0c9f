using AllocTools.Validation;
using Microsoft.Extensions.Options;

namespace AllocTools.Caching;

/// <summary>
/// How much a <see cref="RmaRegistrationCache"/> keeps registered. Leased memory counts, and is never deregistered to
/// stay below these limits.
/// </summary>
public sealed class RmaRegistrationCacheOptions
{
    /// <summary>
    /// How many bytes it keeps registered, within the pool's <see cref="RmaMemoryPoolOptions.MaxRegisteredBytes"/>,
    /// which limits the whole pool. A longer range is served, and deregistered when its last lease ends. Unit:
    /// bytes. Range: 0 (nothing is kept) to 1 EiB. Default: 256 MiB.
    /// </summary>
    [OptionRange(0, 1L << 60, "bytes")]
    public long MaxBytes { get; set; } = 256L << 20;

    /// <summary>How many registrations it keeps. Range: 1 to 65,536. Default: 1,024.</summary>
    [OptionRange(1, 65_536, "registrations")]
    public int MaxEntries { get; set; } = 1024;

    internal RmaRegistrationCacheOptions Copy() => (RmaRegistrationCacheOptions)MemberwiseClone();
}

/// <summary>The ranges of <see cref="RmaRegistrationCacheOptions"/>, from its attributes.</summary>
[OptionsValidator]
internal sealed partial class RmaRegistrationCacheOptionsRanges : IValidateOptions<RmaRegistrationCacheOptions>;

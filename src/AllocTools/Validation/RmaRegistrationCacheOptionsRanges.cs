using AllocTools.Caching;
using Microsoft.Extensions.Options;

namespace AllocTools.Validation;

/// <summary>The ranges of <see cref="RmaRegistrationCacheOptions"/>, from its attributes.</summary>
[OptionsValidator]
internal sealed partial class RmaRegistrationCacheOptionsRanges : IValidateOptions<RmaRegistrationCacheOptions>;

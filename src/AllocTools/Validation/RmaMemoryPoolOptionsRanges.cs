using Microsoft.Extensions.Options;

namespace AllocTools.Validation;

/// <summary>The ranges of <see cref="RmaMemoryPoolOptions"/>, from its attributes.</summary>
[OptionsValidator]
internal sealed partial class RmaMemoryPoolOptionsRanges : IValidateOptions<RmaMemoryPoolOptions>;

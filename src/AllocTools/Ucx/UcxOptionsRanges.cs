using Microsoft.Extensions.Options;

namespace AllocTools.Ucx;

/// <summary>The ranges of <see cref="UcxOptions"/>, from its attributes.</summary>
[OptionsValidator]
internal sealed partial class UcxOptionsRanges : IValidateOptions<UcxOptions>;

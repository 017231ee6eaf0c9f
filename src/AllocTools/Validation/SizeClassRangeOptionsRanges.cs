using Microsoft.Extensions.Options;

namespace AllocTools.Validation;

/// <summary>The ranges of <see cref="SizeClassRangeOptions"/>, from its attributes.</summary>
[OptionsValidator]
internal sealed partial class SizeClassRangeOptionsRanges : IValidateOptions<SizeClassRangeOptions>;

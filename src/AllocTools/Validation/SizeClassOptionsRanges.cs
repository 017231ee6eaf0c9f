using Microsoft.Extensions.Options;

namespace AllocTools.Validation;

/// <summary>The ranges of <see cref="SizeClassOptions"/>, from its attributes.</summary>
[OptionsValidator]
internal sealed partial class SizeClassOptionsRanges : IValidateOptions<SizeClassOptions>;

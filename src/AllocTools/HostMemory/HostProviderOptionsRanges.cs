using Microsoft.Extensions.Options;

namespace AllocTools.HostMemory;

/// <summary>The ranges of <see cref="HostProviderOptions"/>, from its attributes.</summary>
[OptionsValidator]
internal sealed partial class HostProviderOptionsRanges : IValidateOptions<HostProviderOptions>;

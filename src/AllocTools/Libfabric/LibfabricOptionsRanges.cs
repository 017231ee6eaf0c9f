using Microsoft.Extensions.Options;

namespace AllocTools.Libfabric;

/// <summary>The ranges of <see cref="LibfabricOptions"/>, from its attributes.</summary>
[OptionsValidator]
internal sealed partial class LibfabricOptionsRanges : IValidateOptions<LibfabricOptions>;

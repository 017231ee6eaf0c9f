using Microsoft.Extensions.Options;

namespace AllocTools.Libfabric;

/// <summary>The ranges of <see cref="LibfabricEndpointOptions"/>, from its attributes.</summary>
[OptionsValidator]
internal sealed partial class LibfabricEndpointOptionsRanges : IValidateOptions<LibfabricEndpointOptions>;

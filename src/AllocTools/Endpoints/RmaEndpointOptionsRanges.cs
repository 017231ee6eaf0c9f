using Microsoft.Extensions.Options;

namespace AllocTools.Endpoints;

/// <summary>The ranges of <see cref="RmaEndpointOptions"/>, from its attributes.</summary>
[OptionsValidator]
internal sealed partial class RmaEndpointOptionsRanges : IValidateOptions<RmaEndpointOptions>;

using Microsoft.Extensions.Options;

namespace AllocTools.Mpi;

/// <summary>The ranges of <see cref="MpiOptions"/>, from its attributes.</summary>
[OptionsValidator]
internal sealed partial class MpiOptionsRanges : IValidateOptions<MpiOptions>;

using CsCheck;
using Xunit;

namespace AllocTools.Tests.Model;

/// <summary>
/// Tests the pool against a model, step by step. A failure prints the shortest scenario and its seed, for <c>seed:</c>
/// or CsCheck_Seed.
/// </summary>
public sealed class PoolModelTests
{
    [Fact]
    public void ThePoolDoesWhatItsModelSays() =>
        Scenarios.Any.Sample(scenario => scenario.Run(), iter: 300, time: ModelRuns.Seconds, threads: 1);
}

namespace AllocTools.Tests.Model.Steps;

/// <summary>Drains the pool, so that it serves no more rents.</summary>
internal sealed record Drain() : Step
{
    public override void Run(PoolModel model) => model.Drain();
}

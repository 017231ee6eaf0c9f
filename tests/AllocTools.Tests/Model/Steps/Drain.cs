namespace AllocTools.Tests.Model.Steps;

/// <summary>Rents no more.</summary>
internal sealed record Drain() : Step
{
    public override void Run(PoolModel model) => model.Drain();
}

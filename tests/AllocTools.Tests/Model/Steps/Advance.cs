namespace AllocTools.Tests.Model.Steps;

/// <summary>Lets time pass.</summary>
internal sealed record Advance(int Ticks) : Step
{
    public override void Run(PoolModel model) => model.Advance(Ticks);
}

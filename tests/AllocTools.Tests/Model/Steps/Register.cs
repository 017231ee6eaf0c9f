namespace AllocTools.Tests.Model.Steps;

/// <summary>Registers memory of the caller.</summary>
internal sealed record Register(int Length) : Step
{
    public override void Run(PoolModel model) => model.Register(Length);
}

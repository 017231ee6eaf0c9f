namespace AllocTools.Tests.Model.Steps;

/// <summary>Registers the initial blocks.</summary>
internal sealed record WarmUp() : Step
{
    public override void Run(PoolModel model) => model.WarmUp();
}

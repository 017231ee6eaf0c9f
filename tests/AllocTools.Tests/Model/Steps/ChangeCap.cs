namespace AllocTools.Tests.Model.Steps;

/// <summary>Changes the cap in use.</summary>
internal sealed record ChangeCap(long Cap) : Step
{
    public override void Run(PoolModel model) => model.ChangeCap(Cap);
}
